import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EndReason, type UnlockEvent } from '../../../server/src/gen/stafett/v1/lock.js';
import { eventually } from '../../support/eventually.js';
import { Rng } from '../../support/rng.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import { toMs } from '../../support/stub-duration.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';
import type { StubWatch } from '../../support/stub-watch.js';

// Issue and §5: first the present state of each name, then every unlock, with who had it and who has it next.

const WAIT = { waitMs: 60_000 };

let stack: TestStack;
let servers: [TestServer, TestServer];
let namespace: string;
let client: StubClient;
let away: StubClient;

beforeAll(async () => {
  stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
  [client, away] = servers.map((server) => connectStub(server, namespace)) as [StubClient, StubClient];
});

async function watching(at: StubClient, ...names: string[]): Promise<StubWatch> {
  const watch = at.watch(names);
  await watch.ready;
  return watch;
}

/** The first unlock that the watch tells. */
async function unlockOf(watch: StubWatch, index = 0): Promise<UnlockEvent> {
  await eventually('the unlock to be told', () => watch.unlocks.length > index);
  return watch.unlocks[index] as UnlockEvent;
}

/** The counts of a name’s snapshot and of its unlocks, and how many are told as missed. */
function countsOf(watch: StubWatch, name: string) {
  const snapshot = watch.snapshots.find(({ lock }) => lock?.name === name);
  const unlocks = watch.unlocks.filter((unlock) => unlock.name === name);
  return {
    from: Number(snapshot?.unlockCount),
    counts: unlocks.map(({ unlockCount }) => Number(unlockCount)),
    missed: unlocks.reduce((sum, { missed }) => sum + Number(missed), 0),
  };
}

describe('the snapshot', () => {
  test('tells the state of each name: held, waited for, free', async () => {
    const hold = await client.lock('held', { purpose: 'testing' });
    void client.acquire('held', WAIT);
    await waiting(client, 'held', 1);
    await client.release(await client.lock('used'));
    const { snapshots, unlocks } = await watching(away, 'held', 'used', 'new');
    expect(snapshots.map(({ lock, unlockCount }) => [lock?.name, lock?.waiterCount, Number(unlockCount)])).toEqual([
      ['held', 1, 0],
      ['used', 0, 1],
      ['new', 0, 0],
    ]);
    expect(snapshots[0]?.lock?.holder).toMatchObject({ fencingToken: hold.fencingToken, purpose: 'testing' });
    expect(snapshots[1]?.lock?.holder).toBeUndefined();
    expect(unlocks).toEqual([]);
  });
});

describe.each([
  ['the same server', () => client],
  ['another server', () => away],
])('on %s an unlock is told', (_, at) => {
  test('with who had it and why that ended, and who has it next', async () => {
    const watch = await watching(at(), 'name');
    const first = await client.lock('name', { purpose: 'first' });
    const second = client.lock('name', { ...WAIT, purpose: 'second', ttlMs: 1_000 });
    await waiting(client, 'name', 1);
    await client.release(first);
    const next = await second;
    const released = await unlockOf(watch);
    expect(released).toMatchObject({
      name: 'name',
      unlockCount: 1n,
      missed: 0n,
      previous: { purpose: 'first', fencingToken: first.fencingToken, acquireTime: first.acquireTime, endReason: EndReason.RELEASED },
      next: { purpose: 'second', fencingToken: next.fencingToken, acquireTime: next.acquireTime },
    });
    const expired = await unlockOf(watch, 1);
    expect(expired).toMatchObject({ unlockCount: 2n, previous: { fencingToken: next.fencingToken, endReason: EndReason.EXPIRED } });
    expect(expired.next).toBeUndefined();
    const late = toMs(expired.previous?.endTime) - toMs(next.expireTime);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThanOrEqual(250);
  });

  test('when an operator takes the lock away', async () => {
    const watch = await watching(at(), 'name');
    const lost = await client.lock('name');
    await client.forceRelease('name');
    expect(await unlockOf(watch)).toMatchObject({ previous: { fencingToken: lost.fencingToken, endReason: EndReason.FORCED } });
  });

  test.each([
    ['is closed', EndReason.SESSION_CLOSED],
    ['runs out', EndReason.EXPIRED],
  ])('of each name when the session of their holder %s', async (_, endReason) => {
    const watch = await watching(at(), 'a', 'b');
    const session = await client.openSilentSession({ ttlMs: 1_000 });
    await client.lock(['a', 'b'], { session });
    if (endReason === EndReason.SESSION_CLOSED) await client.sessions.closeSession({ sessionId: session.id });
    const unlocks = [await unlockOf(watch), await unlockOf(watch, 1)];
    expect(unlocks.map(({ name }) => name).sort()).toEqual(['a', 'b']);
    for (const { previous } of unlocks) expect(previous).toMatchObject({ sessionId: session.id, endReason });
  });
});

describe('nothing is missed', () => {
  test('under many quick unlocks, wherever and whenever a watch begins', async () => {
    const rng = new Rng();
    const names = ['a', 'b', 'c'];
    const total = 150;
    const unlocks = names.map(async (name, i) => {
      const pipeline = (i % 2 ? away : client).pipeline();
      for (let n = 0; n < total; n++) await pipeline.release(await pipeline.lock(name));
    });
    const watches: StubWatch[] = [];
    const done = Promise.all(unlocks).then(() => true);
    for (let i = 0; i < 24; i++) {
      const watch = await watching(rng.pick([client, away]), ...rng.shuffle(names));
      watches.push(watch);
      if (i % 4 === 3) watches.splice(rng.int(0, watches.length - 1), 1)[0]?.stop();
    }
    await done;
    for (const watch of watches) {
      for (const name of names) {
        await eventually('all unlocks to be told', () => (countsOf(watch, name).counts.at(-1) ?? countsOf(watch, name).from) === total);
        const { from, counts, missed } = countsOf(watch, name);
        expect(counts).toEqual(Array.from({ length: total - from }, (_, i) => from + 1 + i));
        expect(missed).toBe(0);
      }
    }
    expect(new Set(watches.map((watch) => countsOf(watch, 'a').from)).size).toBeGreaterThan(3); // they did begin in between
  });
});

describe('a watch', () => {
  test('ends with OK at the timeout, and not before', async () => {
    await client.lock('name');
    const started = performance.now();
    const watch = client.watch('name', { timeoutMs: 700 });
    expect(await watch.ended).toBeUndefined();
    const took = performance.now() - started;
    expect(took).toBeGreaterThanOrEqual(699);
    expect(took).toBeLessThan(1_700);
    expect(watch.snapshots).toHaveLength(1);
  });

  test('with a timeout of zero tells the state and ends', async () => {
    const watch = client.watch(['a', 'b'], { timeoutMs: 0 });
    expect(await watch.ended).toBeUndefined();
    expect(watch.snapshots.map(({ lock }) => lock?.name)).toEqual(['a', 'b']);
  });

  test('takes 64 names', async () => {
    const names = Array.from({ length: 64 }, (_, i) => `name-${i}`);
    const watch = await watching(away, ...names);
    const hold = await client.lock(names);
    await client.release(hold);
    await eventually('all unlocks to be told', () => watch.unlocks.length === 64);
    expect(watch.unlocks.map(({ name }) => name).sort()).toEqual(names.toSorted());
  });

  test('that many share costs one message for each unlock, and none when the last has gone', async () => {
    const redis = stack.redis.client();
    const publishes = async () => Number(/^cmdstat_publish:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0);
    const unlock = async () => client.release(await client.lock('name'));
    const watches = await Promise.all(Array.from({ length: 50 }, () => watching(away, 'name')));
    const before = await publishes();
    await unlock();
    for (const watch of watches) await unlockOf(watch);
    expect((await publishes()) - before).toBe(1);
    for (const watch of watches) watch.stop();
    await eventually('nobody to be told any more', async () => {
      const last = await publishes();
      await unlock();
      return (await publishes()) === last;
    });
  });

  test('does not keep anybody from the lock, nor shows as a waiter', async () => {
    await watching(client, 'name');
    const grant = await away.lock('name');
    expect(await client.getLock('name')).toMatchObject({ waiterCount: 0, waiters: [] });
    await away.release(grant);
  });
});
