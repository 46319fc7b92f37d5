import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Lock, type Stafett, StafettError } from '../../clients/typescript/src/index.js';
import { connectClient, freed, gate, holder, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startStack, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

let server: TestServer;
let one: Stafett;
let two: Stafett;

beforeAll(async () => {
  ({ server } = await startStack());
});

beforeEach(async () => {
  const namespace = freshNamespace();
  one = await connectClient(server, { namespace, client: 'one', version: '1.2', host: 'here' });
  two = await connectClient(server, { namespace, client: 'two' });
});

describe('run', () => {
  test('runs the work while the names are held, gives them back, and returns the result', async () => {
    const seen = await one.locks.run(['a', 'b', 'a'], async (lock) => {
      expect(lock).toBeInstanceOf(Lock);
      expect(lock.names).toEqual(['a', 'b']);
      expect(lock.isHeld).toBe(true);
      expect(lock.signal.aborted).toBe(false);
      lock.assertHeld();
      const view = await two.locks.get('b');
      expect(view.holder).toMatchObject({
        client: 'one/1.2',
        host: 'here',
        fencingToken: lock.fencingToken,
        acquireTime: lock.acquireTime,
      });
      return lock;
    });
    expect(seen.isHeld).toBe(false);
    expect(() => seen.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_RELEASED' }));
    expect((await two.locks.get('a')).holder).toBeUndefined();
  });

  test('waits for the one who holds a name, and has it then', async () => {
    const { opened, open } = gate();
    const order: string[] = [];
    const first = one.locks.run('a', async () => {
      await queued(two, 'a', 1);
      order.push('first');
      await opened;
    });
    await holder(two, 'a');
    const second = two.locks.run('a', () => void order.push('second'));
    open();
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
  });

  test('what the work throws comes out as it is, and the lock is given back', async () => {
    const error = { any: 'thing' };
    await expect(one.locks.run('a', () => Promise.reject(error))).rejects.toBe(error);
    await expect(
      one.locks.run('a', () => {
        throw error;
      }),
    ).rejects.toBe(error);
    expect((await one.locks.get('a')).holder).toBeUndefined();
  });

  test('tasks of one client contend like those of several', async () => {
    let inside = 0;
    const work = async () => {
      expect(++inside).toBe(1);
      await new Promise(setImmediate);
      inside--;
    };
    await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? one : two).locks.run('a', work)));
    expect((await one.locks.get('a')).history).toHaveLength(10);
  });

  test('with a timeout that passes: WAIT_TIMEOUT, with who was in the way', async () => {
    await one.locks.run('a', async () => {
      const waits = two.locks.run('a', () => 'never', { waitTimeout: '50ms' });
      await expect(waits).rejects.toMatchObject({
        code: 'DEADLINE_EXCEEDED',
        reason: 'WAIT_TIMEOUT',
        contention: { timedOut: true, blockers: [{ name: 'a', holder: { client: 'one/1.2' } }] },
      });
      expect((await one.locks.get('a')).waiterCount).toBe(0);
    });
  });

  test('what the server refuses is an error with its reason', async () => {
    await expect(one.locks.run([], () => {})).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_FIELD',
      metadata: { field: 'names' },
    });
    await expect(one.locks.run('x'.repeat(257), () => {})).rejects.toBeInstanceOf(StafettError);
    await expect(one.locks.run('a', () => {}, { waitTimeout: 'soon' })).rejects.toThrow(/^waitTimeout: /);
  });

  test('the work may let go early', async () => {
    await one.locks.run('a', async (lock) => {
      await lock.release();
      await two.locks.run('a', () => {});
    });
  });
});

describe('tryRun', () => {
  test('runs when nobody is in the way', async () => {
    expect(await one.locks.tryRun('a', (lock) => typeof lock.fencingToken)).toEqual({ acquired: true, value: 'bigint' });
  });

  test('tells at once who is in the way', async () => {
    await one.locks.run(
      ['a', 'b'],
      async (lock) => {
        const outcome = await two.locks.tryRun(['b', 'c'], () => 'never');
        expect(outcome).toMatchObject({
          acquired: false,
          contention: {
            timedOut: false,
            queueLength: 0,
            blockers: [{ name: 'b', holder: { client: 'one/1.2', host: 'here', thread: 'worker 3', traceId: 'ab12', purpose: 'journal' } }],
          },
        });
        const blocker = outcome.acquired ? undefined : outcome.contention.blockers[0]?.holder;
        expect(blocker?.acquireTime).toEqual(lock.acquireTime);
        expect(blocker?.expireTime.getTime()).toBeGreaterThan(lock.acquireTime.getTime());
      },
      { purpose: 'journal', owner: { thread: 'worker 3', traceId: 'ab12' } },
    );
  });

  test('waits as long as it is told', async () => {
    const lock = await one.locks.acquire('a');
    expect(await two.locks.tryRun('a', () => 'never', { waitTimeout: 30 })).toMatchObject({
      acquired: false,
      contention: { timedOut: true },
    });
    const waits = two.locks.tryRun('a', () => 'done', { waitTimeout: '20s' });
    await queued(one, 'a', 1);
    await lock.release();
    expect(await waits).toEqual({ acquired: true, value: 'done' });
  });
});

describe('acquire', () => {
  test('for a scope of the caller: given back at its end', async () => {
    {
      await using lock = await one.locks.acquire('a', { purpose: 'journal' });
      lock.assertHeld();
      expect(await two.locks.tryAcquire('a')).toMatchObject({ acquired: false });
    }
    const attempt = await two.locks.tryAcquire('a', { waitTimeout: '1s' });
    expect(attempt.acquired).toBe(true);
    if (attempt.acquired) await attempt.lock.release();
  });

  test('tokens grow', async () => {
    const tokens: bigint[] = [];
    for (let i = 0; i < 5; i++) await one.locks.run('a', (lock) => tokens.push(lock.fencingToken));
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => (a < b ? -1 : 1)));
  });

  test('many at once', async () => {
    const locks = await Promise.all(Array.from({ length: 2_500 }, (_, i) => one.locks.acquire(`a/${i}`)));
    expect(new Set(locks.map(({ lockId }) => lockId)).size).toBe(2_500);
    await Promise.all(locks.map((lock) => lock.release()));
  });
});

describe('an abort', () => {
  test('of a waiter: it leaves the queue, and those behind it move up', async () => {
    const lock = await one.locks.acquire('a');
    const controller = new AbortController();
    const aborted = two.locks.acquire('a', { signal: controller.signal });
    await queued(one, 'a', 1);
    const behind = two.locks.acquire('a');
    await queued(one, 'a', 2);
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await queued(one, 'a', 1);
    await lock.release();
    await (await behind).release();
    await freed(one, 'a');
  });

  test('before the call: nothing is asked', async () => {
    const reason = new Error('enough');
    await expect(one.locks.run('a', () => {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect((await one.locks.get('a')).history).toEqual([]);
  });

  test('while the grant is on its way: the lock does not stay behind', async () => {
    for (let i = 0; i < 50; i++) {
      const controller = new AbortController();
      const waits = one.locks.acquire(`a/${i}`, { signal: controller.signal });
      const done = i % 2 ? new Promise(process.nextTick) : new Promise(setImmediate);
      await done;
      controller.abort(new Error('enough'));
      const lock = await waits.catch(() => undefined);
      await lock?.release();
    }
    for (let i = 0; i < 50; i++) await freed(one, `a/${i}`);
  });

  test('after the lock is held has no effect', async () => {
    const controller = new AbortController();
    await one.locks.run(
      'a',
      async (lock) => {
        controller.abort();
        lock.assertHeld();
        expect(lock.signal.aborted).toBe(false);
      },
      { signal: controller.signal },
    );
  });
});

describe('looking and stepping in', () => {
  test('get: the holder, who waits, and who had it', async () => {
    expect(await one.locks.get('never')).toEqual({ name: 'never', holder: undefined, waiterCount: 0, waiters: [], history: [] });
    await one.locks.run('a', () => {});
    const lock = await one.locks.acquire('a');
    const waits = two.locks.acquire('a', { purpose: 'invoice' });
    await queued(one, 'a', 1);
    const view = await one.locks.get('a');
    expect(view).toMatchObject({
      name: 'a',
      holder: { fencingToken: lock.fencingToken, sessionId: one.session.id },
      waiterCount: 1,
      waiters: [{ client: 'two', purpose: 'invoice', sessionId: two.session.id }],
      history: [{ endReason: 'RELEASED' }],
    });
    await lock.release();
    await (await waits).release();
  });

  test('list: page by page, by prefix, active ones only', async () => {
    await Promise.all(Array.from({ length: 230 }, (_, i) => one.locks.run(`a/${String(i).padStart(3, '0')}`, () => {})));
    const held = await one.locks.acquire(['a/007', 'b/1']);
    const names = async (options: Parameters<Stafett['locks']['list']>[0]) => {
      const found: string[] = [];
      for await (const { name } of one.locks.list(options)) found.push(name);
      return found;
    };
    expect(await names({})).toHaveLength(231);
    expect(await names({ prefix: 'a/01' })).toEqual(Array.from({ length: 10 }, (_, i) => `a/01${i}`));
    expect(await names({ activeOnly: true })).toEqual(['a/007', 'b/1']);
    await held.release();
  });

  test('forceRelease: the holder is told, and who is next has it', async () => {
    const lock = await one.locks.acquire(['a', 'b']);
    const { signal } = lock;
    const waits = two.locks.acquire('a');
    await queued(one, 'a', 1);
    await expect(two.locks.forceRelease('a', { fencingToken: lock.fencingToken - 1n })).rejects.toMatchObject({ reason: 'LOCK_NOT_HELD' });
    const previous = await two.locks.forceRelease('a', { fencingToken: lock.fencingToken });
    expect(previous).toMatchObject({ fencingToken: lock.fencingToken, endReason: 'FORCED', client: 'one/1.2' });
    const next = await waits;
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    await eventually('the holder to be told', () => signal.aborted);
    expect(signal.reason).toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'LOCK_REVOKED' } });
    expect(one.session.state).toBe('CONNECTED');
    await expect(lock.release()).rejects.toMatchObject({ reason: 'LOCK_LOST' });
    await next.release();
    expect(await two.locks.forceRelease('never')).toBeUndefined();
  });

  test('forceRelease while the work goes on regardless: run says LOCK_LOST, with the value', async () => {
    const run = one.locks.run('a', async () => {
      await two.locks.forceRelease('a');
      return 'untrusted';
    });
    await expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', value: 'untrusted' });
    const failing = one.locks.run('a', async () => {
      await two.locks.forceRelease('a');
      throw new Error('of the work');
    });
    await expect(failing).rejects.toThrow('of the work');
  });

  test('a lost lock that nobody released is forgotten by the server all the same', async () => {
    const lock = await one.locks.acquire('a');
    await two.locks.forceRelease('a');
    await eventually('the holder to be told', () => !lock.isHeld);
    await one.locks.run('a', (next) => expect(next.fencingToken).toBeGreaterThan(lock.fencingToken));
  });
});
