import { beforeEach, describe, expect, test } from 'vitest';
import { take, takeMore, type Wish } from '../../clients/typescript/src/acquiring.js';
import type { Connection } from '../../clients/typescript/src/connection.js';
import { StafettError } from '../../clients/typescript/src/errors.js';
import type { AcquireRequest, AcquireResponse } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import { Grant } from '../../clients/typescript/src/grant.js';
import { SessionLife } from '../../clients/typescript/src/life.js';
import { Lock } from '../../clients/typescript/src/lock.js';

/** Answers each request in turn; throws what is an error. */
type Answer = (request: AcquireRequest, life: SessionLife) => AcquireResponse | Error | Promise<AcquireResponse>;

let lives: SessionLife[];
let requests: AcquireRequest[];
let answers: Answer[];
let released: string[];

beforeEach(() => {
  lives = [];
  requests = [];
  answers = [];
  released = [];
});

function openLife(): SessionLife {
  const life = new SessionLife({
    id: `s${lives.length}`,
    ttlMs: 60_000,
    safetyMarginMs: 1_000,
    sentAt: performance.now(),
    epoch: 'e',
    onLost() {},
  });
  lives.push(life);
  return life;
}

const pipeline = {
  async acquire(life: SessionLife, request: AcquireRequest, _times: unknown, signal?: AbortSignal) {
    requests.push(request);
    const aborted = new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    const answer = await Promise.race([answers.shift()?.(request, life) ?? new Promise<never>(() => {}), aborted]);
    if (answer instanceof Error) throw answer;
    return answer;
  },
  async release(_: SessionLife, lockId: string) {
    released.push(lockId);
  },
};

/** A connection that opens the next session when the last one is lost. */
const connection = {
  pipeline,
  session: () => (lives.at(-1)?.lost === undefined ? lives.at(-1) : Promise.resolve(openLife())),
} as unknown as Connection;

const grant: Answer = ({ names, sessionId, requestId }) => ({
  outcome: {
    $case: 'grant',
    value: {
      lockId: `${sessionId}.${requestId}`,
      names,
      fencingToken: 1n,
      acquireTime: undefined,
      expireTime: undefined,
      ttl: undefined,
      epoch: 'e',
    },
  },
});

const contention: Answer = () => ({ outcome: { $case: 'contention', value: { blockers: [], queueLength: 0, timedOut: false } } });

function wish(more: Partial<Wish> = {}): Wish {
  return { names: ['a'], times: { askedAt: 0, waitUntil: Number.POSITIVE_INFINITY }, ...more };
}

const lost = (reason: string) => new StafettError('FAILED_PRECONDITION', reason, 'lost');

describe('take', () => {
  beforeEach(() => void openLife());

  test('asks with the least, and takes the grant', async () => {
    answers = [grant];
    const lock = await take(connection, wish());
    expect(lock).toBeInstanceOf(Lock);
    expect(requests).toEqual([
      {
        names: ['a'],
        sessionId: 's0',
        requestId: '1',
        purpose: '',
        heldLockIds: [],
        ttl: undefined,
        waitTimeout: undefined,
        owner: undefined,
      },
    ]);
    answers = [grant];
    await take(connection, wish({ purpose: 'p', owner: { thread: 't' } }));
    expect(requests[1]).toMatchObject({ requestId: '2', purpose: 'p', owner: { host: '', thread: 't', client: '', traceId: '' } });
  });

  test('without a timeout asks again when even the longest wait is over', async () => {
    answers = [contention, grant];
    expect(await take(connection, wish())).toBeInstanceOf(Lock);
    expect(requests.map(({ requestId }) => requestId)).toEqual(['1', '2']);
  });

  test('who waited and had to ask again at the end of the time has timed out; who did not wait has not', async () => {
    answers = [contention, contention];
    expect(await take(connection, wish({ times: { askedAt: 0, waitUntil: 1 } }))).toMatchObject({ timedOut: true });
    expect(await take(connection, wish({ times: { askedAt: 1, waitUntil: 1 } }))).toMatchObject({ timedOut: false });
  });

  test('a session that is lost while it waits is followed by the next', async () => {
    answers = [
      (_, life) => {
        const reason = lost('SESSION_LOST');
        life.lose(reason);
        return reason;
      },
      () => lost('SESSION_NOT_FOUND'),
      grant,
    ];
    expect(await take(connection, wish())).toBeInstanceOf(Lock);
    expect(requests.map(({ sessionId }) => sessionId)).toEqual(['s0', 's1', 's2']);
    expect(lives[1]?.lost?.reason).toBe('SESSION_LOST');
  });

  test('a grant of a session that is lost by then is none', async () => {
    answers = [
      (request, life) => {
        life.lose(lost('SESSION_LOST'));
        return grant(request, life);
      },
      grant,
    ];
    const lock = await take(connection, wish());
    expect(lock instanceof Lock && lock.isHeld).toBe(true);
    expect(requests.map(({ sessionId }) => sessionId)).toEqual(['s0', 's1']);
  });

  test('a grant that was revoked before it was heard of is none', async () => {
    answers = [
      (request, life) => {
        life.revokedEarly.add(`${request.sessionId}.${request.requestId}`);
        return grant(request, life);
      },
      grant,
    ];
    const lock = await take(connection, wish());
    expect(lock instanceof Lock && lock.lockId).toBe('s0.2');
  });

  test('other errors are for the caller, also that of a closed client', async () => {
    answers = [() => lost('TOO_MANY_WAITERS')];
    await expect(take(connection, wish())).rejects.toMatchObject({ reason: 'TOO_MANY_WAITERS' });
    answers = [
      (_, life) => {
        const reason = lost('CLOSED');
        life.lose(reason);
        return reason;
      },
    ];
    await expect(take(connection, wish())).rejects.toMatchObject({ reason: 'CLOSED' });
  });

  test('a signal that was aborted before asks nothing', async () => {
    await expect(take(connection, wish({ signal: AbortSignal.abort(new Error('enough')) }))).rejects.toThrow('enough');
    expect(requests).toEqual([]);
  });
});

describe('takeMore', () => {
  let outer: Grant;

  beforeEach(() => {
    const proto = {
      lockId: 's0.x',
      names: ['o'],
      fencingToken: 1n,
      acquireTime: undefined,
      expireTime: undefined,
      ttl: undefined,
      epoch: 'e',
    };
    outer = new Grant(openLife(), proto, pipeline);
  });

  test('says what the context holds', async () => {
    answers = [grant];
    expect(await takeMore(connection, wish(), new Set([outer]))).toBeInstanceOf(Grant);
    expect(requests[0]).toMatchObject({ sessionId: 's0', heldLockIds: ['s0.x'] });
  });

  test('ends when what the context holds is lost', async () => {
    const taken = takeMore(connection, wish(), new Set([outer]));
    outer.lose(lost('LOCK_REVOKED'));
    await expect(taken).rejects.toMatchObject({ reason: 'LOCK_LOST', metadata: { names: '["o"]' }, cause: { reason: 'LOCK_REVOKED' } });
  });

  test.each(['SESSION_NOT_FOUND', 'LOCK_NOT_HELD'])('%s: what the context holds is lost', async (reason) => {
    answers = [() => lost(reason)];
    await expect(takeMore(connection, wish(), new Set([outer]))).rejects.toMatchObject({ reason: 'LOCK_LOST' });
  });

  test('never goes on in another session', async () => {
    answers = [
      (_, life) => {
        const reason = lost('SESSION_LOST');
        life.lose(reason);
        return reason;
      },
      grant,
    ];
    await expect(takeMore(connection, wish(), new Set([outer]))).rejects.toMatchObject({ reason: 'LOCK_LOST' });
    expect(requests).toHaveLength(1);
  });

  test('an abort is the caller’s', async () => {
    const controller = new AbortController();
    const taken = takeMore(connection, wish({ signal: controller.signal }), new Set([outer]));
    controller.abort(new Error('enough'));
    await expect(taken).rejects.toThrow('enough');
  });
});
