import { setTimeout as sleep } from 'node:timers/promises';
import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { startServer, startStack, type TestStack } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { connectStub, freshNamespace, settlesWithin, waiting } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

// A Redis that comes back has forgotten everything. Nobody is left waiting for what cannot happen any more. (test/fault/epoch.test.ts: what
// the client library makes of it.)

const GRACE_MS = 3_000;
const ANSWERED_MS = GRACE_MS + 3_000;
const WAIT = { waitMs: 60_000, ttlMs: GRACE_MS };
/** Of a free lock: the test before may have left a grace period. */
const HOLD = { waitMs: ANSWERED_MS, ttlMs: GRACE_MS };

let stack: TestStack;
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: `${GRACE_MS}ms` } });
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectStub(stack.server, namespace);
});

async function restartRedis(): Promise<void> {
  await stack.redis.kill();
  await stack.redis.start();
  await eventually('the server to be ready', async () => (await fetch(`http://${stack.server.httpAddress}/readyz`)).ok);
}

describe('while Redis is away', () => {
  test('a wait that ends leaves nothing behind', async () => {
    const back = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
    const cutOff = connectStub(await startServer({ redis: `redis://127.0.0.1:${back.port}` }), namespace);
    const hold = await client.lock('name', HOLD);
    const waiter = cutOff.acquire('name', { session: await cutOff.openSession(), waitMs: 500 });
    await waiting(client, 'name', 1);
    back.refuse();
    back.cut();
    await sleep(600);
    await back.accept();
    expect((await waiter).contention?.timedOut).toBe(true);
    await client.release(hold);
    const after = async () => {
      const { holder, waiterCount } = await client.getLock('name');
      return holder === undefined && waiterCount === 0;
    };
    await eventually('nobody to have it, or to wait for it', after);
    await cutOff.getLock('name'); // whatever was asked once more has been carried out by now
    expect(await after()).toBe(true);
  });
});

describe('after a restart of Redis', () => {
  test('who waits under a session that does not come again is told after the grace period that it is gone', async () => {
    const session = await client.openSession();
    await client.lock('name', HOLD);
    const unary = client.acquire('name', { ...WAIT, session });
    const inPipeline = client.pipeline().acquire('name', { ...WAIT, session });
    await waiting(client, 'name', 2);
    await restartRedis();
    expect(await settlesWithin(Promise.allSettled([unary, inPipeline]), ANSWERED_MS)).toBe(true);
    for (const call of [unary, inPipeline]) {
      expect(await refusal(call)).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
    }
  });

  test('who waits with a lease of its own has the lock', async () => {
    await client.lock('name', HOLD);
    const waiter = client.lock('name', WAIT);
    await waiting(client, 'name', 1);
    await restartRedis();
    expect(await settlesWithin(waiter, ANSWERED_MS)).toBe(true);
    expect((await client.getLock('name')).holder?.fencingToken).toBe((await waiter).fencingToken);
  });

  test('a watch goes on to tell of every unlock', async () => {
    const unlock = async () => client.release(await client.lock('name', WAIT));
    for (let i = 0; i < 5; i++) await unlock();
    const watch = client.watch('name');
    await watch.ready;
    await unlock();
    await eventually('the unlock to be told', () => watch.unlocks.length === 1);
    await restartRedis();
    await unlock();
    await unlock();
    await eventually('the unlocks to be told', () => watch.unlocks.length === 3, { timeoutMs: ANSWERED_MS });
  });

  test('a session’s keepalive is told that it has to come again', async () => {
    const session = await client.openSession({ ttlMs: 3_000 });
    await restartRedis();
    await eventually('it to be told', () => session.streams[0]?.responses.at(-1)?.states[0]?.mustAssert === true);
  });
});
