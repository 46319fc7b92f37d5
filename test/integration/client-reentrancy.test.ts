import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, freed, gate, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Rng } from '../support/rng.js';
import { startStack, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

let server: TestServer;
let client: Stafett;
let other: Stafett;

beforeAll(async () => {
  ({ server } = await startStack());
});

beforeEach(async () => {
  const namespace = freshNamespace();
  client = await connectClient(server, { namespace });
  other = await connectClient(server, { namespace });
});

/** The names that are held, as the server sees it. */
async function held(): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, holder } of other.locks.list({ activeOnly: true })) if (holder) names.push(name);
  return names;
}

async function isFree(name: string): Promise<boolean> {
  const attempt = await other.locks.tryAcquire(name);
  if (attempt.acquired) await attempt.lock.release();
  return attempt.acquired;
}

describe('a nested run', () => {
  test('takes only what is not held yet, and gives back only what it took', async () => {
    await client.locks.run(['a', 'b'], async (outer) => {
      await client.locks.run(['b', 'c'], async (inner) => {
        expect(inner.tokenFor('b')).toBe(outer.fencingToken);
        expect(inner.tokenFor('c')).toBeGreaterThan(outer.fencingToken);
        expect(inner.fencingToken).toBe(inner.tokenFor('c'));
        expect(await held()).toEqual(['a', 'b', 'c']);
      });
      expect(await held()).toEqual(['a', 'b']);
      outer.assertHeld();
    });
    expect(await held()).toEqual([]);
  });

  test('of the same names asks no server', async () => {
    await client.locks.run('a', async (outer) => {
      const result = await client.locks.run('a', (inner) => {
        expect([inner.lockId, inner.fencingToken, inner.isHeld]).toEqual([outer.lockId, outer.fencingToken, true]);
        return client.locks.tryRun(['a'], () => 'innermost');
      });
      expect(result).toEqual({ acquired: true, value: 'innermost' });
      expect(await isFree('a')).toBe(false);
    });
    expect(await isFree('a')).toBe(true);
  });

  // The defect of the talk's code: the inner entry removes the outer one's names from what it believes to hold.
  test('whose inner call has ended still protects the outer one’s names', async () => {
    await client.locks.run(['a', 'b'], async (outer) => {
      await client.locks.run('a', () => {});
      await client.locks.run(['b', 'c'], () => Promise.reject(new Error('inside'))).catch(() => {});
      expect(await Promise.all(['a', 'b', 'c'].map(isFree))).toEqual([false, false, true]);
      outer.assertHeld();
      // And it knows that: asked again it does not wait for itself.
      expect(await client.locks.tryRun(['a', 'b'], () => 'mine')).toEqual({ acquired: true, value: 'mine' });
    });
  });

  test('that does not get its names leaves the outer ones alone', async () => {
    const blocker = await other.locks.acquire('c');
    await client.locks.run(['a', 'b'], async (outer) => {
      expect(await client.locks.tryRun(['b', 'c'], () => 'never')).toMatchObject({
        acquired: false,
        contention: { blockers: [{ name: 'c' }] },
      });
      await expect(client.locks.run(['b', 'c'], () => 'never', { waitTimeout: 20 })).rejects.toMatchObject({ reason: 'WAIT_TIMEOUT' });
      await expect(client.locks.run(['b', 'c'], () => 'never', { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
        name: 'TimeoutError',
      });
      outer.assertHeld();
      expect(await held()).toEqual(['a', 'b', 'c']);
    });
    await blocker.release();
    expect(await held()).toEqual([]);
  });

  test('finds its context through timers, callbacks and promises', async () => {
    await client.locks.run('a', async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const late = new Promise<string>((resolve) => {
        setImmediate(() => process.nextTick(() => resolve(client.locks.run('a', () => 'mine'))));
      });
      expect(await late).toBe('mine');
    });
  });

  test('a lock that was released early is not held any more', async () => {
    await client.locks.run('a', async (outer) => {
      await outer.release();
      await client.locks.run('a', async (inner) => {
        expect(inner.fencingToken).toBeGreaterThan(outer.fencingToken);
        expect(await isFree('a')).toBe(false);
      });
      expect(await isFree('a')).toBe(true);
    });
  });

  test('another client in the same context is a stranger', async () => {
    await client.locks.run('a', async () => {
      expect(await other.locks.tryRun('a', () => 'never')).toMatchObject({ acquired: false });
    });
  });

  test('a cycle of holds is refused, and the refused one can let go and begin again', async () => {
    const [first, second] = [gate(), gate()];
    const one = client.locks.run('a', async () => {
      first.open();
      await second.opened;
      return client.locks.run('b', () => 'one');
    });
    const two = other.locks.run('b', async () => {
      await first.opened;
      second.open();
      await queued(other, 'b', 1);
      return other.locks.run('a', () => 'two').catch((error) => error.reason);
    });
    expect(await Promise.all([one, two])).toEqual(['one', 'DEADLOCK']);
  });

  test('passes those who wait for its own context anyway', async () => {
    await client.locks
      .run('a', async () => {
        const wide = other.locks.run(['a', 'b'], () => 'wide');
        await queued(client, 'b', 1); // b is free, but reserved for those who wait for a
        expect(await client.locks.run('b', () => 'nested')).toBe('nested');
        return { wide };
      })
      .then(({ wide }) => wide);
  });
});

describe('branches side by side', () => {
  test('share what surrounds them, and take everything else from each other in turn', async () => {
    let inside = 0;
    const order: number[] = [];
    await client.locks.run('a', async (outer) => {
      const branch = (i: number) =>
        client.locks.run(['a', 'b'], async (lock) => {
          expect(++inside).toBe(1);
          order.push(i);
          await new Promise(setImmediate);
          expect(lock.tokenFor('a')).toBe(outer.fencingToken);
          lock.assertHeld();
          inside--;
        });
      await Promise.all([1, 2, 3, 4].map(branch));
      expect(order).toEqual([1, 2, 3, 4]);
      expect(await held()).toEqual(['a']);
      outer.assertHeld();
    });
  });

  test('one that fails takes nothing from the others', async () => {
    const { opened, open } = gate();
    await client.locks.run('a', async (outer) => {
      const failing = client.locks.run(['a', 'b'], () => Promise.reject(new Error('of the branch')));
      const working = client.locks.run(['a', 'c'], async (lock) => {
        await opened;
        lock.assertHeld();
        return held();
      });
      await expect(failing).rejects.toThrow('of the branch');
      open();
      expect(await working).toEqual(['a', 'c']);
      outer.assertHeld();
    });
  });
});

describe('work that nobody waited for', () => {
  test('keeps what it shares until it ends, but finds nothing held any more', async () => {
    const { opened, open } = gate();
    const left: Promise<unknown>[] = [];
    const locks: Lock[] = [];
    await client.locks.run(['a', 'b'], (outer) => {
      locks.push(outer);
      // Begun while the names were held: it has them until it is done.
      left.push(
        client.locks.run('a', async (inner) => {
          locks.push(inner);
          await opened;
          inner.assertHeld();
        }),
      );
    });
    const [outer, inner] = locks as [Lock, Lock];
    expect([outer.isHeld, inner.isHeld]).toEqual([false, true]);
    expect(await held()).toEqual(['a', 'b']); // they were granted together
    open();
    await Promise.all(left);
    await freed(client, 'a');
    expect(await held()).toEqual([]);
  });

  test('asks anew for what its run has given back', async () => {
    const { opened, open } = gate();
    let late: Promise<bigint> | undefined;
    const token = await client.locks.run('a', (lock) => {
      late = opened.then(() => client.locks.run('a', (own) => own.fencingToken));
      return lock.fencingToken;
    });
    const blocker = await other.locks.acquire('a');
    open();
    await queued(other, 'a', 1); // it believes nothing: it queues
    await blocker.release();
    expect(await late).toBeGreaterThan(blocker.fencingToken);
    expect(blocker.fencingToken).toBeGreaterThan(token);
  });
});

describe('acquire', () => {
  test('within a run shares its names, for as long as it needs them', async () => {
    const lock = await client.locks.run('a', async () => {
      const inner = await client.locks.acquire(['a', 'b']);
      expect(await held()).toEqual(['a', 'b']);
      return inner;
    });
    lock.assertHeld();
    expect(await held()).toEqual(['a', 'b']);
    await lock.release();
    expect(await held()).toEqual([]);
  });

  test('opens no scope, but can be named as what surrounds a call', async () => {
    await using lock = await client.locks.acquire('a');
    expect(await client.locks.tryRun('a', () => 'never')).toMatchObject({ acquired: false });
    const nested = await client.locks.tryRun(['a', 'b'], (inner) => inner.tokenFor('a'), { within: lock });
    expect(nested).toEqual({ acquired: true, value: lock.fencingToken });
    // Within the work it surrounds as a run does.
    await client.locks.run('b', () => client.locks.run('a', () => 'mine'), { within: lock });
    await using more = await client.locks.acquire(['a', 'c'], { within: lock });
    expect(more.tokenFor('a')).toBe(lock.fencingToken);
    expect(await held()).toEqual(['a', 'c']);
  });

  test('a released one surrounds nothing', async () => {
    const lock = await client.locks.acquire('a');
    await lock.release();
    await client.locks.run('a', (own) => expect(own.fencingToken).toBeGreaterThan(lock.fencingToken), { within: lock });
  });
});

describe('a lost lock', () => {
  test('surrounds nothing: nested calls fail, whatever they ask for', async () => {
    const ran: unknown[] = [];
    await expect(
      client.locks.run('a', async (outer) => {
        await other.locks.forceRelease('a');
        await eventually('the loss to be known', () => !outer.isHeld);
        for (const names of ['a', 'b', ['a', 'b']]) {
          await expect(client.locks.run(names, () => void ran.push(names))).rejects.toMatchObject({ reason: 'LOCK_LOST' });
        }
        expect(ran).toEqual([]);
        expect(await held()).toEqual([]);
      }),
    ).rejects.toMatchObject({ reason: 'LOCK_LOST' });
  });

  test('ends the wait of a nested call', async () => {
    const blocker = await other.locks.acquire('b');
    const run = client.locks.run('a', () => client.locks.run('b', () => 'never'));
    const refused = expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'LOCK_REVOKED' } });
    await queued(other, 'b', 1);
    await other.locks.forceRelease('a');
    await refused;
    await queued(other, 'b', 0);
    await blocker.release();
  });

  test('is lost for nested locks that share it', async () => {
    const run = client.locks.run('a', () =>
      client.locks.run(['a', 'b'], async (inner) => {
        const { signal } = inner;
        await other.locks.forceRelease('a');
        await eventually('the inner lock to be told', () => signal.aborted);
        expect(await held()).toEqual(['b']);
        return 'untrusted';
      }),
    );
    await expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', value: 'untrusted' });
    await freed(client, 'b');
  });
});

/** A tree of nested calls, at random: some side by side, some that throw, some that give up. */
async function randomTree(rng: Rng, depth: number, covered: ReadonlySet<string>): Promise<void> {
  const names = [...new Set(Array.from({ length: 1 + rng.int(0, 2) }, () => `n${rng.int(0, 5)}`))];
  const work = async (lock: Lock) => {
    lock.assertHeld();
    const now = new Set([...covered, ...names]);
    for (const name of now) expect((await other.locks.get(name)).holder?.sessionId).toBe(client.session.id);
    if (depth < 4) {
      for (let i = rng.int(0, 2); i > 0; i--) await randomTree(rng, depth + 1, now);
    }
    for (const name of now) expect((await other.locks.get(name)).holder?.sessionId).toBe(client.session.id);
    lock.assertHeld();
    if (rng.int(0, 3) === 0) throw new Error('at random');
  };
  const kind = rng.int(0, 2);
  try {
    if (kind === 0) await client.locks.tryRun(names, work);
    else await client.locks.run(names, work);
  } catch (error) {
    expect((error as Error).message).toBe('at random');
  }
  // Whatever was taken is given back, and nothing else.
  for (const name of names) expect((await other.locks.get(name)).holder !== undefined).toBe(covered.has(name));
}

test('any nesting, with exceptions anywhere: what surrounds stays held, the rest is given back', async () => {
  const rng = new Rng();
  for (let i = 0; i < 12; i++) await randomTree(rng, 0, new Set());
  expect(await held()).toEqual([]);
});
