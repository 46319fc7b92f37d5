import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EndReason, type Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { plainEnv, startProcess, type TestProcess } from '../../support/process.js';
import { compiledProgram } from '../../support/program.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import { toMs } from '../../support/stub-duration.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.1.9: when a holder's session expires, the next waiter is granted within 250 ms of the expiry. Both by the clock of Redis.

const HAND_OFF_MS = 250;
const WAIT = { waitMs: 60_000 };
const HOLDER = fileURLToPath(new URL('../../support/stub-holder.ts', import.meta.url));

let stack: TestStack;
let server: TestServer;
let other: TestServer;
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  stack = await startStack();
  server = stack.server;
  other = await stack.addServer();
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectStub(server, namespace);
});

async function startHolder(at: TestServer, name: string, ttlMs: number): Promise<TestProcess> {
  const args = [compiledProgram(HOLDER), String(at.grpcPort), namespace, String(ttlMs), name];
  const holder = startProcess(process.execPath, args, plainEnv());
  onCleanup(() => holder.kill());
  await eventually('the holder to have the lock', () => holder.stdout().includes('holds') || holder.ended, { timeoutMs: 20_000 });
  expect(holder.ended, holder.stderr()).toBe(false);
  return holder;
}

/** When the name's holder expires unless it is kept alive. */
async function expiryOf(name: string): Promise<number> {
  return toMs((await client.getLock(name)).holder?.expireTime);
}

function expectHandOff(grant: Grant, expiry: number): void {
  const late = toMs(grant.acquireTime) - expiry;
  expect(late).toBeGreaterThanOrEqual(0);
  expect(late).toBeLessThanOrEqual(HAND_OFF_MS);
}

describe('a holder that is killed', () => {
  test.each([
    ['the same server', () => server],
    ['another server', () => other],
  ])('is followed by a waiter of %s at the expiry of its session', async (_, at) => {
    const holder = await startHolder(server, 'name', 2_000);
    const next = connectStub(at(), namespace).lock('name', WAIT);
    await waiting(client, 'name', 1);
    await holder.kill();
    const expiry = await expiryOf('name');
    expectHandOff(await next, expiry); // and all is quiet meanwhile
    const { history } = await client.getLock('name');
    expect(history).toMatchObject([{ endReason: EndReason.EXPIRED, owner: { host: 'doomed', client: 'holder/1' } }]);
  });

  test('was not followed while it lived: its keepalives prolong what it holds', async () => {
    const holder = await startHolder(server, 'name', 1_000);
    const first = await expiryOf('name');
    const next = connectStub(other, namespace).lock('name', WAIT);
    await eventually('three TTLs to pass', async () => (await expiryOf('name')) > first + 3_000);
    await holder.kill();
    const expiry = await expiryOf('name');
    expectHandOff(await next, expiry);
  });
});

describe('a session that is no longer kept alive', () => {
  test('hands over all that it held, to waiters of both servers, at its expiry', async () => {
    const session = await client.openSilentSession({ ttlMs: 1_500 });
    const names = Array.from({ length: 200 }, (_, i) => `name-${i}`);
    const pipelines = [client, connectStub(other, namespace)].map((each) => each.pipeline());
    await Promise.all(names.map((name) => pipelines[0]?.lock(name, { session })));
    const waiters = names.map((name, i) => pipelines[i % 2]?.lock(name, WAIT) as Promise<Grant>);
    const expiry = toMs(session.opened.expireTime);
    for (const grant of await Promise.all(waiters)) expectHandOff(grant, expiry);
  });

  test('leaves the queues, and who waits behind it has what is free, at its expiry', async () => {
    const session = await client.openSilentSession({ ttlMs: 1_000 });
    await client.lock('held');
    void client.acquire(['free', 'held'], { ...WAIT, session });
    await waiting(client, 'free', 1);
    const next = connectStub(other, namespace).lock('free', WAIT);
    expectHandOff(await next, toMs(session.opened.expireTime));
  });

  test('is followed at its expiry by one who came to another server only just before', async () => {
    const session = await client.openSilentSession({ ttlMs: 1_000 });
    await client.lock('name', { session });
    const expiry = toMs(session.opened.expireTime);
    const away = connectStub(other, namespace);
    await away.getLock('name'); // connected
    await eventually('the expiry to be near', async () => expiry - (await redisNow()) < 150);
    expectHandOff(await away.lock('name', WAIT), expiry);
  });
});

describe('a holder whose server dies with it', () => {
  test('is followed by a waiter of another server at the expiry of its session', async () => {
    const mortal = await stack.addServer();
    const doomed = connectStub(mortal, namespace);
    const session = await doomed.openSilentSession({ ttlMs: 2_000 });
    await doomed.lock('name', { session });
    const next = connectStub(other, namespace).lock('name', WAIT);
    await mortal.kill();
    expectHandOff(await next, toMs(session.opened.expireTime));
  });

  test('is followed at its expiry by one who comes only just before to a server that had nothing to wait for', async () => {
    const away = connectStub(other, namespace);
    await away.sessions.listSessions({}); // it knows the namespace, and nothing of what happens there from now on
    const mortal = await stack.addServer();
    const doomed = connectStub(mortal, namespace);
    const session = await doomed.openSilentSession({ ttlMs: 1_500 });
    await doomed.lock('name', { session });
    await mortal.kill();
    const expiry = toMs(session.opened.expireTime);
    await eventually('the expiry to be near', async () => expiry - (await redisNow()) < 300);
    expectHandOff(await away.lock('name', WAIT), expiry);
  });
});

describe('a lease', () => {
  test.each([
    ['the same server', () => server],
    ['another server', () => other],
  ])('that is not extended is followed by a waiter of %s at its expiry', async (_, at) => {
    const lease = await client.lock('name', { ttlMs: 1_000 });
    const next = connectStub(at(), namespace).lock('name', WAIT);
    expectHandOff(await next, toMs(lease.expireTime));
  });

  test('that is extended is followed at its last expiry only', async () => {
    const lease = await client.lock('name', { ttlMs: 1_000 });
    const next = connectStub(other, namespace).lock('name', WAIT);
    await waiting(client, 'name', 1);
    const extended = await client.extend(lease, 2_000);
    expect(toMs(extended.expireTime)).toBeGreaterThanOrEqual(toMs(lease.expireTime) + 1_000);
    expectHandOff(await next, toMs(extended.expireTime));
  });

  test('that waits is kept alive by its server for as long as its caller is there', async () => {
    const hold = await client.lock('name', { ttlMs: 4_000 });
    const next = connectStub(other, namespace).lock('name', { ...WAIT, ttlMs: 1_000 });
    const grant = await next;
    expectHandOff(grant, toMs(hold.expireTime));
    expect(toMs(grant.expireTime) - toMs(grant.acquireTime)).toBe(1_000);
  });
});

const clocks = new Map<TestStack, ReturnType<TestStack['redis']['client']>>();

/** Redis' clock, in ms. */
async function redisNow(): Promise<number> {
  const redis = clocks.get(stack) ?? stack.redis.client();
  clocks.set(stack, redis);
  const [seconds, micros] = (await redis.time()) as unknown as [string | number, string | number];
  return Number(seconds) * 1000 + Number(micros) / 1000;
}
