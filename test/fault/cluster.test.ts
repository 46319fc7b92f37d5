import { beforeEach, describe, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { LockLoad } from '../support/lock-load.js';
import { missWrites } from '../support/missed-writes.js';
import { slotOfNamespace, startCluster, type TestCluster, type TestNode } from '../support/redis-cluster.js';
import { Rng, testSeed } from '../support/rng.js';
import { startServer, type TestServer } from '../support/stack.js';
import { connectStub } from '../support/stub-stack.js';

// Issue 3.5: the namespaces are spread over the masters of a cluster. A fail-over is a new epoch; a slot that is moved brings all with it.

const NAMES = ['x', 'y', 'z'];
const TIMEOUT_MS = 90_000;
const TTL_MS = 15_000;
/** From the end of a fail-over until the load goes on: a grace period, and for servers and clients to find each other. */
const PROGRESS_MS = TTL_MS + 8_000;
/** What `redis-cli` moves at a time, empty ones included. */
const SLOTS_MOVED = 30;

let cluster: TestCluster;
let servers: [TestServer, TestServer];

async function startServers(dist?: string): Promise<[TestServer, TestServer]> {
  const options = { redis: cluster.url, env: { STAFETT_MAX_TTL: `${TTL_MS}ms` }, ...(dist !== undefined && { dist }) };
  return [await startServer(options), await startServer(options)];
}

/** One client on each server. */
async function connectBoth(namespace: string): Promise<[Stafett, Stafett]> {
  return [await connectClient(servers[0], { namespace, ttl: TTL_MS }), await connectClient(servers[1], { namespace, ttl: TTL_MS })];
}

async function whenKnown({ locks }: Stafett, { fencingToken, names }: Lock): Promise<void> {
  const known = async () => (await locks.get(names[0] as string).catch(() => undefined))?.holder?.fencingToken === fencingToken;
  await eventually('the lock to be known again', known, { timeoutMs: 15_000 });
}

async function queueUp(who: readonly Stafett[], name: string, count: number) {
  const queue = { served: [] as number[], all: [] as Promise<void>[] };
  for (let i = 0; i < count; i++) {
    const { locks } = who[i % who.length] as Stafett;
    const done = locks.run(name, () => void queue.served.push(i));
    done.catch(() => {}); // where the test looks for it
    queue.all.push(done);
    await queued(who[0] as Stafett, name, i + 1);
  }
  return queue;
}

describe('a cluster of three masters', { timeout: TIMEOUT_MS }, () => {
  beforeEach(async () => {
    cluster = await startCluster();
    servers = await startServers();
  });

  test('keeps namespaces on each of them; hand-off and WaitForUnlock work across servers', async () => {
    for (let master = 0; master < 3; master++) {
      const namespace = cluster.namespaceAt(master);
      const [one, two] = await connectBoth(namespace);
      const watch = connectStub(servers[1], namespace).watch('a', { timeoutMs: 20_000 });
      const lock = await one.locks.acquire('a');
      const queue = await queueUp([two, one], 'a', 4);
      await lock.release();
      await Promise.all(queue.all);
      expect(queue.served).toEqual([0, 1, 2, 3]);
      await eventually('all unlocks to be told', () => watch.unlocks.length === 5);
      const gates = await Promise.all(
        cluster.masters.map(({ client }) => client.call('CLUSTER', 'COUNTKEYSINSLOT', slotOfNamespace(namespace))),
      );
      expect(gates.map((count) => Number(count) > 0)).toEqual([0, 1, 2].map((each) => each === master));
    }
  });

  test('one of them is killed under load: its namespaces go on at its replica, which missed the last writes, and the others notice nothing', async () => {
    const [hit, spared] = [cluster.namespaceAt(0), cluster.namespaceAt(1)];
    const [clients, others] = [await connectBoth(hit), await connectBoth(spared)];
    const rng = new Rng(testSeed());
    const [load, otherLoad] = [new LockLoad(clients, NAMES, rng.fork()), new LockLoad(others, NAMES, rng.fork())];
    const kept = await clients[0].locks.acquire(['a', 'b']);
    const queue = await queueUp(clients, 'a', 4);
    await eventually('some load', () => load.done > 50 && otherLoad.done > 50);
    const { redis } = cluster.masters[0] as TestNode;
    const missed = await missWrites(redis, (cluster.replicas[0] as TestNode).redis);
    const known = load.done;
    await eventually('grants that the replica does not know', () => load.done > known + 20);
    expect(await missed()).toBeGreaterThan(0);
    const since = performance.now();
    await redis.kill();
    const othersBefore = otherLoad.done;
    await cluster.whenReplaced(0);
    expect(otherLoad.done).toBeGreaterThan(othersBefore + 10); // while the others wait
    await whenKnown(clients[1], kept);
    console.log(`fault: fail-over in a cluster, until the lock is known again: ${Math.round(performance.now() - since)} ms`);
    kept.assertHeld();
    expect((await clients[0].locks.get('b')).holder?.fencingToken).toBe(kept.fencingToken);
    await kept.release();
    await Promise.all(queue.all);
    expect(queue.served).toEqual([0, 1, 2, 3]);
    const before = load.done;
    await eventually('the load to go on', () => load.done > before + 20, { timeoutMs: PROGRESS_MS });
    expect(await load.end()).toEqual([]);
    expect(load.failures).toEqual([]);
    expect(await otherLoad.end()).toEqual([]);
    expect(otherLoad.failures).toEqual([]);
    const ready = await (await fetch(`http://${servers[0].httpAddress}/readyz`)).json();
    expect(ready).toEqual({ ready: true, reasons: [] });
  });

  test('a slot is moved under load, slowly: nothing is lost, no epoch ends', async () => {
    const namespace = cluster.namespaceAt(0);
    const clients = await connectBoth(namespace);
    const rng = new Rng(testSeed());
    const load = new LockLoad(clients, NAMES, rng.fork());
    const kept = await clients[0].locks.acquire(['a', 'b']);
    const lease = await connectStub(servers[0], namespace).lock('leased', { ttlMs: 15_000 });
    const queue = await queueUp(clients, 'a', 4);
    await eventually('some load', () => load.done > 50);
    const [from, to] = cluster.masters as [TestNode, TestNode];
    const done = load.done;
    let steps = 0;
    await cluster.moveSlot(
      slotOfNamespace(namespace),
      from,
      to,
      async () => void (await new Promise((resolve) => setTimeout(resolve, 20, ++steps))),
      2,
    );
    expect(steps).toBeGreaterThan(5);
    await eventually('the load to go on', () => load.done > done + 50, { timeoutMs: 30_000 });
    expect((await clients[1].locks.get('b')).holder?.fencingToken).toBe(kept.fencingToken);
    expect((await clients[1].locks.get('leased')).holder?.fencingToken).toBe(lease.fencingToken);
    kept.assertHeld();
    await kept.release();
    await Promise.all(queue.all);
    expect(queue.served).toEqual([0, 1, 2, 3]);
    expect(await load.end()).toEqual([]);
    expect(load.failures).toEqual([]);
    for (const server of servers) expect(server.logs().filter(({ msg }) => msg.includes('a new epoch begins'))).toEqual([]);
    console.log(`fault: a slot that is moved in ${steps} steps: the longest pause ${load.longestPauseMs} ms`);
  });

  test('redis-cli moves slots, then another master hands over to its replica, all under load', async () => {
    const [moved, handed] = [cluster.namespaceAt(0, SLOTS_MOVED), cluster.namespaceAt(2)];
    const [clients, others] = [await connectBoth(moved), await connectBoth(handed)];
    const rng = new Rng(testSeed());
    const [load, otherLoad] = [new LockLoad(clients, NAMES, rng.fork()), new LockLoad(others, NAMES, rng.fork())];
    const [kept, otherKept] = [await clients[0].locks.acquire(['b', 'a']), await others[0].locks.acquire(['b', 'a'])];
    const [queue, otherQueue] = [await queueUp(clients, 'a', 4), await queueUp(others, 'a', 4)];
    await eventually('some load', () => load.done > 50 && otherLoad.done > 50);
    const [from, to] = cluster.masters as [TestNode, TestNode];
    await cluster.reshard(SLOTS_MOVED, from, to);
    expect(Number(await to.client.call('CLUSTER', 'COUNTKEYSINSLOT', slotOfNamespace(moved)))).toBeGreaterThan(0);
    const done = load.done;
    await eventually('the load to go on', () => load.done > done + 50, { timeoutMs: 30_000 });
    for (const server of servers) expect(server.logs().filter(({ msg }) => msg.includes('a new epoch begins'))).toEqual([]);
    console.log(`fault: redis-cli moves ${SLOTS_MOVED} slots: the longest pause ${load.longestPauseMs} ms`);

    await cluster.switchOver(2);
    const [before, otherBefore] = [load.done, otherLoad.done];
    await whenKnown(others[1], otherKept);
    for (const lock of [kept, otherKept]) {
      lock.assertHeld();
      await lock.release();
    }
    await Promise.all([...queue.all, ...otherQueue.all]);
    for (const { served } of [queue, otherQueue]) expect(served).toEqual([0, 1, 2, 3]);
    await eventually('the load to go on', () => otherLoad.done > otherBefore + 20, { timeoutMs: PROGRESS_MS });
    expect(load.done).toBeGreaterThan(before + 50); // while the others waited
    for (const each of [load, otherLoad]) {
      expect(await each.end()).toEqual([]);
      expect(each.failures).toEqual([]);
    }
  });
});
