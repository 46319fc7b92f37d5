import { ClientError, Status } from 'nice-grpc-common';
import { ErrorInfo, RetryInfo, RichClientError } from 'nice-grpc-error-details';
import { describe, expect, test } from 'vitest';
import { fromPipelineError, isHopeless, isUnavailable, lockLost, StafettError, waitTimeout } from '../../clients/typescript/src/errors.js';
import { FencedStore } from '../../clients/typescript/src/fenced-store.js';
import { ErrorReason } from '../../clients/typescript/src/gen/stafett/v1/error.js';

describe('StafettError.from', () => {
  test('takes reason, metadata and delay from the details of a status', () => {
    const error = new RichClientError('/stafett.v1.LockService/GetLock', Status.UNAVAILABLE, 'no Redis', [
      ErrorInfo.fromPartial({ reason: 'REDIS_UNAVAILABLE', domain: 'stafett', metadata: { a: 'b' } }) as never,
      RetryInfo.fromPartial({ retryDelay: { seconds: 1, nanos: 500_000_000 } }) as never,
    ]);
    for (const detail of error.extra)
      Object.assign(detail, { $type: 'retryDelay' in detail ? 'google.rpc.RetryInfo' : 'google.rpc.ErrorInfo' });
    expect(StafettError.from(error)).toMatchObject({
      code: 'UNAVAILABLE',
      reason: 'REDIS_UNAVAILABLE',
      message: 'no Redis',
      metadata: { a: 'b' },
      retryDelayMs: 1_500,
      cause: error,
    });
  });

  test('leaves its own kind alone, and makes the best of others', () => {
    const own = lockLost(['a'], new Error('x'));
    expect(StafettError.from(own)).toBe(own);
    expect(StafettError.from(new ClientError('/x', Status.UNIMPLEMENTED, 'no'))).toMatchObject({
      code: 'UNIMPLEMENTED',
      reason: 'UNIMPLEMENTED',
    });
    expect(StafettError.from(new TypeError('oops'))).toMatchObject({ code: 'UNKNOWN', reason: 'UNKNOWN', message: 'oops' });
    expect(StafettError.from('oops')).toMatchObject({ code: 'UNKNOWN', message: 'oops', cause: 'oops' });
  });

  test('a refused command of a pipeline tells the same', () => {
    const retryDelay = { seconds: 0n, nanos: 200_000_000 };
    const error = { code: 9, reason: ErrorReason.LOCK_NOT_HELD, message: 'not held', metadata: { lock_id: 's.1' }, retryDelay };
    expect(fromPipelineError(error)).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'LOCK_NOT_HELD',
      metadata: { lock_id: 's.1' },
      retryDelayMs: 200,
    });
    expect(fromPipelineError({ ...error, code: 999, reason: 999 as never, retryDelay: undefined })).toMatchObject({
      code: 'UNKNOWN',
      reason: 'UNKNOWN',
      retryDelayMs: undefined,
    });
  });
});

describe('errors', () => {
  test('only what may pass is worth asking again, and only what never will is hopeless', () => {
    const of = (code: Status) => new ClientError('/x', code, '');
    expect([Status.UNAVAILABLE, Status.CANCELLED, Status.ABORTED, Status.INTERNAL].map((code) => isUnavailable(of(code)))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect([Status.INVALID_ARGUMENT, Status.UNAUTHENTICATED, Status.UNAVAILABLE].map((code) => isHopeless(of(code)))).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('WAIT_TIMEOUT says who was in the way', () => {
    const who = { sessionId: 's', host: 'h', thread: '', client: 'billing', traceId: '', purpose: 'invoice' };
    const holder = { ...who, fencingToken: 1n, acquireTime: new Date(0), expireTime: new Date(0) };
    const contention = { blockers: [{ name: 'a', holder, waiterCount: 1, waiters: [], history: [] }], queueLength: 1, timedOut: true };
    const error = waitTimeout(['a', 'b'], contention);
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', reason: 'WAIT_TIMEOUT', contention });
    expect(error.message).toBe('"a", "b" did not become available in time: "a" is held by billing, h, invoice');
    expect(waitTimeout(['a'], { blockers: [], queueLength: 0, timedOut: true }).message).toBe('"a" did not become available in time');
  });
});

describe('a fenced store', () => {
  test('refuses an older token for the key that has seen a newer one', async () => {
    const store = new FencedStore();
    const written: string[] = [];
    const write = (key: string, token: bigint) => store.write(key, token, () => written.push(`${key} ${token}`));
    await write('a', 5n);
    await write('a', 5n);
    await write('a', 7n);
    await expect(write('a', 6n)).rejects.toMatchObject({ reason: 'STALE_TOKEN', metadata: { key: 'a', token: '6', highest: '7' } });
    await write('b', 6n);
    expect(written).toEqual(['a 5', 'a 5', 'a 7', 'b 6']);
  });

  test('compares and writes in one step, though its store is asynchronous', async () => {
    const tokens = new Map<string, bigint>();
    const store = new FencedStore({
      get: async (key) => tokens.get(key),
      set: async (key, token) => tokens.set(key, token),
    });
    const results = await Promise.allSettled([store.write('a', 9n, () => 'new'), store.write('a', 3n, () => 'old')]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  test('an action that fails does not stop the next', async () => {
    const store = new FencedStore();
    await expect(store.write('a', 1n, () => Promise.reject(new Error('disk full')))).rejects.toThrow('disk full');
    expect(await store.write('a', 1n, () => 'written')).toBe('written');
  });
});
