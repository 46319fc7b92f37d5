import { beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, holder, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { type SentinelSetup, startSentinel } from '../support/redis-sentinel.js';
import { startServer, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Issue 3.5: the master is the one that the sentinels name. A fail-over is a new epoch.

/** Longer than a sentinel may take on a busy machine: what it takes longer than that is a lost session, rightly. */
const TTL = '12s';

let setup: SentinelSetup;
let servers: [TestServer, TestServer];
let clients: [Stafett, Stafett];

beforeEach(async () => {
  setup = await startSentinel();
  const options = { redis: setup.url, env: { STAFETT_MAX_TTL: TTL } };
  servers = [await startServer(options), await startServer(options)];
  const namespace = freshNamespace();
  clients = [await connectClient(servers[0], { namespace, ttl: TTL }), await connectClient(servers[1], { namespace, ttl: TTL })];
});

const CASES: [string, (setup: SentinelSetup) => Promise<unknown>][] = [
  ['is killed', ({ master }) => master.kill()],
  ['is told to be a replica, while connections stay', ({ switchOver }) => switchOver()],
];

describe('when the master', () => {
  test.each(CASES)('%s, clients keep their locks and waiters their order, and tokens grow', async (_, strike) => {
    const [one, two] = clients;
    const lock = await one.locks.acquire(['a', 'b']);
    const order: number[] = [];
    const waiters: Promise<void>[] = [];
    for (let i = 0; i < 4; i++) {
      waiters.push((i % 2 ? one : two).locks.run('a', () => void order.push(i)));
      await queued(one, 'a', i + 1);
    }
    const since = performance.now();
    await strike(setup);
    await setup.whenMasterIs(setup.replica);
    const known = async () => (await two.locks.get('b').catch(() => undefined))?.holder?.fencingToken === lock.fencingToken;
    await eventually('the lock to be known again', known, { timeoutMs: 15_000 });
    console.log(`fault: fail-over by Sentinel, until the lock is known again: ${Math.round(performance.now() - since)} ms`);
    lock.assertHeld();
    await lock.release();
    await Promise.all(waiters);
    expect(order).toEqual([0, 1, 2, 3]);
    const next = await two.locks.acquire('a');
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect((await holder(one, 'a')).fencingToken).toBe(next.fencingToken);
  });
});
