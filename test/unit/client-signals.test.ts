import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StafettError } from '../../clients/typescript/src/errors.js';
import { Grant } from '../../clients/typescript/src/grant.js';
import { SessionLife } from '../../clients/typescript/src/life.js';
import { Lock } from '../../clients/typescript/src/lock.js';
import { LinkedSignal } from '../../clients/typescript/src/signals.js';

// §4.1.6, on a clock that the test moves. A clock that is moved without its timers is a stalled event loop.

let now: number;
const lost: string[] = [];

beforeEach(() => {
  now = 1_000_000;
  lost.length = 0;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Time passes, and timers run. */
function pass(ms: number): void {
  now += ms;
  vi.advanceTimersByTime(ms);
}

function openLife(): SessionLife {
  return new SessionLife({
    id: 's',
    ttlMs: 10_000,
    safetyMarginMs: 1_000,
    sentAt: now,
    epoch: 'e',
    onLost: (_, { reason }) => lost.push(reason),
  });
}

function grantUnder(life: SessionLife, lockId: string, names: string[], fencingToken: bigint, given: string[] = []): Grant {
  const acquireTime = { seconds: fencingToken, nanos: 0 };
  const release = async () => given.push(lockId);
  return new Grant(life, { lockId, names, fencingToken, acquireTime, expireTime: undefined, ttl: undefined, epoch: 'e' }, { release });
}

function lockUnder(life: SessionLife, given: string[] = []): Lock {
  return new Lock(['a'], [grantUnder(life, 's.1', ['a'], 7n, given)]);
}

describe('a session', () => {
  test('lives until the moment when the last confirmed keepalive was sent, and the TTL, less the margin', () => {
    const life = openLife();
    expect(life.remainingMs).toBe(9_000);
    pass(5_000);
    const sentAt = now;
    pass(3_000);
    life.confirm(sentAt);
    expect(life.remainingMs).toBe(6_000);
    pass(5_999);
    expect(lost).toEqual([]);
    pass(1);
    expect(lost).toEqual(['SESSION_LOST']);
    expect(life.remainingMs).toBe(0);
  });

  test('a confirmation that comes too late does not bring it back', () => {
    const life = openLife();
    const sentAt = now + 8_000;
    now += 9_000;
    life.confirm(sentAt);
    expect(life.lost?.reason).toBe('SESSION_LOST');
  });

  test('confirmations out of order do not shorten it', () => {
    const life = openLife();
    const sentAt = now + 2_000;
    now += 3_000;
    life.confirm(sentAt);
    life.confirm(sentAt - 1_000);
    expect(life.remainingMs).toBe(8_000);
  });

  test('may be told to end at once if it held nothing, and when the margin is over if it held something', () => {
    const [idle, busy] = [openLife(), openLife()];
    lockUnder(busy);
    const deadline = now + 9_000;
    pass(9_000);
    expect(idle.endAt).toBeLessThanOrEqual(now);
    expect(busy.endAt).toBe(deadline + 1_000);
  });

  test('its signal is aborted with it, and looks at the clock', () => {
    const life = openLife();
    const { signal } = life;
    now += 9_000;
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ reason: 'SESSION_LOST' });
    expect(life.signal).toBe(signal);
  });
});

describe('a lock', () => {
  test('is lost with its session: a timer notices', () => {
    const lock = lockUnder(openLife());
    const aborted = vi.fn();
    lock.signal.addEventListener('abort', aborted);
    pass(8_999);
    expect(aborted).not.toHaveBeenCalled();
    pass(1);
    expect(aborted).toHaveBeenCalledOnce();
    expect(lock.signal.reason).toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'SESSION_LOST' } });
  });

  test.each<[string, (lock: Lock, signal: AbortSignal) => unknown]>([
    ['isHeld', (lock) => lock.isHeld === false],
    ['assertHeld', (lock) => expect(() => lock.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }))],
    ['a new signal', (lock) => lock.signal.aborted],
    ['a signal in the hand', (_, signal) => signal.aborted],
    ['the reason of a signal in the hand', (_, signal) => signal.reason instanceof StafettError],
    ['throwIfAborted', (_, signal) => expect(() => signal.throwIfAborted()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }))],
    ['AbortSignal.any', (_, signal) => AbortSignal.any([signal]).aborted],
  ])('is lost while the event loop stalls: %s notices without a timer', (_, ask) => {
    const lock = lockUnder(openLife());
    const { signal } = lock;
    expect(signal.aborted).toBe(false);
    signal.throwIfAborted();
    lock.assertHeld();
    now += 9_000;
    expect(ask(lock, signal)).not.toBe(false);
    expect(lost).toEqual(['SESSION_LOST']);
  });

  test('given back: its signal is quiet from then on, and it says so', async () => {
    const given: string[] = [];
    const life = openLife();
    const lock = lockUnder(life, given);
    const { signal } = lock;
    await lock.release();
    await lock.release();
    expect(given).toEqual(['s.1']);
    expect(() => lock.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_RELEASED' }));
    pass(20_000);
    expect(signal.aborted).toBe(false);
    expect(lock.signal.aborted).toBe(false);
  });

  test('lost: a release says so and asks no server; the end of a scope keeps quiet', async () => {
    const given: string[] = [];
    const lock = lockUnder(openLife(), given);
    now += 9_000;
    await expect(lock.release()).rejects.toMatchObject({ reason: 'LOCK_LOST' });
    await lock[Symbol.asyncDispose]();
    expect(given).toEqual([]);
  });

  test('of several users is given back by the last', async () => {
    const given: string[] = [];
    const outer = lockUnder(openLife(), given);
    const [grant] = outer.grants as [Grant];
    grant.join();
    const inner = new Lock(['a'], [grant]);
    await outer.release();
    expect(given).toEqual([]);
    expect([outer.isHeld, inner.isHeld]).toEqual([false, true]);
    await inner.release();
    expect(given).toEqual(['s.1']);
  });

  test('of several grants: the token of each name, and the highest', () => {
    const life = openLife();
    const outer = grantUnder(life, 's.1', ['a', 'b'], 7n);
    const inner = grantUnder(life, 's.2', ['c'], 9n);
    const lock = new Lock(['c', 'a'], [inner, outer]);
    expect([lock.lockId, lock.fencingToken, lock.tokenFor('a'), lock.tokenFor('c'), lock.acquireTime]).toEqual([
      's.2',
      9n,
      7n,
      9n,
      new Date(9_000),
    ]);
    expect(() => lock.tokenFor('d')).toThrow(TypeError);
    outer.lose(new StafettError('FAILED_PRECONDITION', 'LOCK_REVOKED', 'taken away'));
    expect(lock.isHeld).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'LOCK_REVOKED' } });
  });
});

describe('linked signals', () => {
  test('follow the first, and forget the others when they are unlinked', () => {
    const [one, two] = [new AbortController(), new AbortController()];
    const linked = new LinkedSignal(one.signal, undefined, two.signal);
    linked.unlink();
    one.abort('one');
    expect(linked.signal.aborted).toBe(false);
    expect(new LinkedSignal(two.signal, one.signal).signal.reason).toBe('one');
    const other = new LinkedSignal(two.signal);
    two.abort('two');
    expect(other.signal.reason).toBe('two');
  });
});
