import { beforeEach, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { backAgain } from '../support/back-again.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { startServer, type TestServer } from '../support/stack.js';
import { refusal } from '../support/stub-client.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

// Issue 3.3, §4.5: a Redis takes over that does not know all, or the one from before comes back, and does not know what happened meanwhile.

const ENV = { STAFETT_MAX_TTL: '3s' };
/** Promised: what lives is back within 2 s of Redis being back. */
const BACK_MS = 2_000;

let namespace: string;
let proxy: TcpProxy;
let replica: TestRedis;
let master: TestRedis;
let server: TestServer;

function client(): Promise<Stafett> {
  return connectClient(server, { namespace, ttl: '3s' });
}

/** As sentinels may order it, one fail-over after the other: the process is the same, and has the data of the other. */
async function becomeReplicaAndMasterAgain(master: TestRedis, other: TestRedis): Promise<void> {
  const client = master.client();
  await client.replicaof(other.host, other.port);
  await eventually('it to have what the other has', async () => (await client.info('replication')).includes('master_link_status:up'));
  await client.replicaof('NO', 'ONE');
}

beforeEach(async () => {
  [master, replica] = [await startRedis({ kind: 'private' }), await startRedis({ kind: 'private' })]; // they must reach each other
  for (const redis of [master, replica]) await redis.client().config('SET', 'repl-diskless-sync-delay', '0');
  proxy = await startTcpProxy({ port: master.port });
  server = await startServer({ redis: `redis://127.0.0.1:${proxy.port}`, env: ENV });
  namespace = freshNamespace();
});

async function replicate(): Promise<void> {
  await replica.client().replicaof(master.host, master.port);
  await eventually('the replica to have it all', async () =>
    (await replica.client().info('replication')).includes('master_link_status:up'),
  );
  await master.client().wait(1, 5_000);
}

/** As if sentinels had named it. */
function go(redis: TestRedis): void {
  proxy.retarget({ port: redis.port });
  proxy.cut();
}

/** Takes two locks, of which the replica knows, and leaves it on its own: from here on it misses everything. */
async function lockAndSplit(one: Stafett): Promise<{ released: Lock; kept: Lock }> {
  const released = await one.locks.acquire('released');
  const kept = await one.locks.acquire('kept');
  await replicate();
  await replica.client().replicaof('NO', 'ONE');
  return { released, kept };
}

/** What is held is held, what was given back is free, and tokens have grown. */
async function expectNothingLost(one: Stafett, held: readonly [kept: Lock, missed: Lock]): Promise<void> {
  expect((await one.locks.get('released')).holder).toBeUndefined();
  const next = await one.locks.acquire('released');
  expect(next.fencingToken).toBeGreaterThan(held[1].fencingToken);
  for (const lock of [...held, next]) lock.assertHeld();
}

test('nobody believes in what the replica shows', async () => {
  const one = await client();
  const { released, kept } = await lockAndSplit(one);
  await released.release();
  const missed = await one.locks.acquire('missed');
  await master.kill();
  proxy.retarget({ port: replica.port });
  expect(await backAgain(one, kept, 'kept')).toBeLessThan(BACK_MS);
  await backAgain(one, missed, 'missed');
  await expectNothingLost(one, [kept, missed]);
});

test('nobody believes in a master that others were served without', async () => {
  const one = await client();
  const { released, kept } = await lockAndSplit(one);
  go(replica);
  await backAgain(one, kept, 'kept');
  await released.release();
  const missed = await one.locks.acquire('missed'); // after the grace period
  go(master); // which is as it was before
  await backAgain(one, missed, 'missed');
  await expectNothingLost(one, [kept, missed]);
});

test('nor does a server that knew nothing of what was locked at the other master', async () => {
  const other = await startServer({ redis: `redis://127.0.0.1:${proxy.port}`, env: ENV });
  const one = await client();
  const kept = await one.locks.acquire('kept');
  await replicate();
  await replica.client().replicaof('NO', 'ONE');
  go(replica);
  await backAgain(one, kept, 'kept');
  const missed = await one.locks.acquire('missed');
  const [first, second] = [namespace, freshNamespace()];
  namespace = second;
  const two = await client();
  const fresh = await two.locks.acquire('fresh'); // in a namespace that the first master does not have
  server.pause();
  go(master);
  const tryLock = (of: string, name: string) => refusal(connectStub(other, of).acquire(name, { ttlMs: 1_000 }));
  expect(await tryLock(second, 'fresh')).toMatchObject({ reason: 'GRACE_PERIOD' });
  expect(await tryLock(first, 'missed')).toMatchObject({ reason: 'GRACE_PERIOD' });
  server.resume();
  await backAgain(one, missed, 'missed');
  await backAgain(two, fresh, 'fresh');
  for (const lock of [kept, missed, fresh]) lock.assertHeld();
});

test.each([
  ['as sentinels cut them', true],
  ['and nobody cuts them', false],
])('nobody believes in a master that was a replica meanwhile; connections to it: %s', async (_, cut) => {
  const [one, two] = [await client(), await client()];
  const { released, kept } = await lockAndSplit(one);
  await released.release();
  const missed = await one.locks.acquire('missed');
  proxy.pause(); // so that the server does not hear what it is meanwhile
  await becomeReplicaAndMasterAgain(master, replica);
  if (cut) proxy.cut();
  proxy.resume();
  if (cut) expect(await two.locks.tryAcquire('missed').catch(({ reason }) => reason)).toMatchObject({ acquired: false });
  await backAgain(one, missed, 'missed');
  await backAgain(one, kept, 'kept');
  await expectNothingLost(one, [kept, missed]);
});
