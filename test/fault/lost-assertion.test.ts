import { beforeEach, expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { TestRedis } from '../support/redis.js';
import { startStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

// §4.5: the server has heard what a client holds, but the client does not hear so. It cannot know how much of it has arrived.

const TTL_MS = 3_000;
const DELAY_MS = 300;
/** More than fit into one assertion. */
const MANY = 1_500;

let redis: TestRedis;
let client: Stafett;
let other: Stafett;
let proxy: TcpProxy;

beforeEach(async () => {
  const stack = await startStack({ env: { STAFETT_MAX_TTL: `${TTL_MS}ms` } });
  const options = { namespace: freshNamespace(), ttl: TTL_MS };
  redis = stack.redis;
  proxy = await startTcpProxy({ port: stack.server.grpcPort });
  client = await connectClient(proxy, options);
  other = await connectClient(stack.server, options);
});

/** Redis forgets all; the connection breaks when the server has heard of the lock, and before its answer arrives. */
async function flushAndLoseTheAnswer({ names: [name = ''], fencingToken }: Lock): Promise<void> {
  proxy.delay(DELAY_MS);
  await redis.client().flushall();
  await eventually('the server to hear of the lock', async () => (await other.locks.get(name)).holder?.fencingToken === fencingToken);
  proxy.cut();
  proxy.delay(0);
}

test('a client whose assertion was not answered asserts again, and goes on', async () => {
  const lock = await client.locks.acquire('a');
  const { id } = client.session;
  await flushAndLoseTheAnswer(lock);
  expect(await client.locks.run('b', () => 'done', { waitTimeout: 2 * TTL_MS })).toBe('done');
  expect(client.session.id).toBe(id);
  lock.assertHeld();
  await lock.release();
});

test('what was not asserted before the connection broke is asserted over the next', async () => {
  const locks = await Promise.all(Array.from({ length: MANY }, (_, i) => client.locks.acquire(`many/${i}`)));
  await flushAndLoseTheAnswer(locks[0] as Lock);
  await other.locks.run('new', () => {}); // the grace period is over
  const last = locks[MANY - 1] as Lock;
  const taken = await other.locks.tryAcquire(last.names);
  expect({ taken: taken.acquired, held: last.isHeld }).toEqual({ taken: false, held: true });
});
