import { beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { LockLoad } from '../support/lock-load.js';
import { slotOfNamespace, startCluster, type TestCluster, type TestNode } from '../support/redis-cluster.js';
import { Rng, testSeed } from '../support/rng.js';
import { startServer, type TestServer } from '../support/stack.js';
import { connectStub } from '../support/stub-stack.js';

// Issue 3.5: the namespaces are spread over the masters of a cluster. A fail-over is a new epoch; a slot that is moved brings all with it.

const NAMES = ['x', 'y', 'z'];
const TIMEOUT_MS = 90_000;

let cluster: TestCluster;
let servers: [TestServer, TestServer];

async function startServers(dist?: string): Promise<[TestServer, TestServer]> {
  const options = { redis: cluster.url, env: { STAFETT_MAX_TTL: '15s' }, ...(dist !== undefined && { dist }) };
  return [await startServer(options), await startServer(options)];
}

/** One client on each server. */
async function connectBoth(namespace: string): Promise<[Stafett, Stafett]> {
  return [await connectClient(servers[0], { namespace, ttl: '15s' }), await connectClient(servers[1], { namespace, ttl: '15s' })];
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

  test('one of them is killed under load: its namespaces go on at its replica, and the others notice nothing', async () => {
    const [hit, spared] = [cluster.namespaceAt(0), cluster.namespaceAt(1)];
    const [clients, others] = [await connectBoth(hit), await connectBoth(spared)];
    const rng = new Rng(testSeed());
    const [load, otherLoad] = [new LockLoad(clients, NAMES, rng.fork()), new LockLoad(others, NAMES, rng.fork())];
    const kept = await clients[0].locks.acquire(['a', 'b']);
    const queue = await queueUp(clients, 'a', 4);
    await eventually('some load', () => load.done > 50 && otherLoad.done > 50);
    const since = performance.now();
    await (cluster.masters[0] as TestNode).redis.kill();
    const othersBefore = otherLoad.done;
    await cluster.whenReplaced(0);
    expect(otherLoad.done).toBeGreaterThan(othersBefore + 10); // while the others wait
    const known = async () => (await clients[1].locks.get('b').catch(() => undefined))?.holder?.fencingToken === kept.fencingToken;
    await eventually('the lock to be known again', known, { timeoutMs: 15_000 });
    console.log(`fault: fail-over in a cluster, until the lock is known again: ${Math.round(performance.now() - since)} ms`);
    kept.assertHeld();
    expect((await clients[0].locks.get('b')).holder?.fencingToken).toBe(kept.fencingToken);
    await kept.release();
    await Promise.all(queue.all);
    expect(queue.served).toEqual([0, 1, 2, 3]);
    const before = load.done;
    await eventually('the load to go on', () => load.done > before + 20, { timeoutMs: 30_000 });
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
});
