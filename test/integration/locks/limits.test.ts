import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { httpGet } from '../../support/server-checks.js';
import { startServer, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';

// §9: every limit has a name, a default and a clear error, which says when a retry may help.

const WAIT = { waitMs: 60_000 };
const ENV = {
  STAFETT_MAX_SESSIONS: '2',
  STAFETT_MAX_LOCKS_PER_SESSION: '3',
  STAFETT_MAX_WAITERS_PER_LOCK: '2',
  STAFETT_MAX_COMMANDS_PER_STREAM: '4',
};

let server: TestServer;
let namespace: string;
let client: StubClient;
let session: StubSession;

beforeAll(async () => {
  server = await startServer({ env: ENV });
});

beforeEach(async () => {
  namespace = freshNamespace();
  client = connectStub(server, namespace);
  session = await client.openSession();
});

function exhausted(reason: string) {
  return { code: Status.RESOURCE_EXHAUSTED, reason, domain: 'stafett', retryDelayMs: expect.any(Number) };
}

test('TOO_MANY_SESSIONS: per namespace, and a closed one makes room', async () => {
  await client.openSession();
  expect(await refusal(client.openSession())).toMatchObject(exhausted('TOO_MANY_SESSIONS'));
  await connectStub(server, freshNamespace()).openSession();
  await client.sessions.closeSession({ sessionId: session.id });
  await client.openSession();
});

describe('TOO_MANY_LOCKS', () => {
  test('counts grants and waiting acquires of a session; a released one makes room', async () => {
    await client.lock('held');
    const locks = [await client.lock(['a', 'b'], { session }), await client.lock('c', { session })];
    void client.acquire('held', { ...WAIT, session });
    await waiting(client, 'held', 1);
    const refused = await refusal(client.acquire('d', { session }));
    expect(refused).toMatchObject({ ...exhausted('TOO_MANY_LOCKS'), metadata: { session_id: session.id } });
    expect(await refusal(client.pipeline().acquire('d', { session }))).toMatchObject(exhausted('TOO_MANY_LOCKS'));
    expect((await client.getLock('d')).holder).toBeUndefined();
    await client.release(locks[0] as (typeof locks)[0]);
    await client.lock('d', { session });
    expect((await client.sessions.getSession({ sessionId: session.id })).session?.lockCount).toBe(3);
  });

  test('lets a repeated acquire through: it is not one more', async () => {
    for (const requestId of ['1', '2', '3']) await client.lock(requestId, { session, requestId });
    await client.lock('1', { session, requestId: '1' });
  });
});

describe('TOO_MANY_WAITERS', () => {
  test('is per name; one that leaves makes room', async () => {
    await client.lock('name');
    const waiters = client.pipeline();
    void waiters.acquire('name', { ...WAIT, requestId: 'first' });
    void waiters.acquire('name', WAIT);
    await waiting(client, 'name', 2);
    const refused = await refusal(client.acquire(['other', 'name'], WAIT));
    expect(refused).toMatchObject({ ...exhausted('TOO_MANY_WAITERS'), metadata: { name: 'name' } });
    await free(client, 'other');
    expect((await client.acquire('name')).contention).toMatchObject({ queueLength: 2 }); // who does not wait is no waiter
    await waiters.cancel('first');
    void client.acquire('name', WAIT);
    await waiting(client, 'name', 2);
  });
});

test('STREAM_LIMIT: too many commands in flight on a pipeline refuse only what is too much', async () => {
  await client.lock('held');
  const pipeline = client.pipeline();
  void pipeline.acquire('held', WAIT);
  void pipeline.acquire('held', WAIT);
  await waiting(client, 'held', 2);
  const answers = await Promise.allSettled(Array.from({ length: 5 }, (_, i) => pipeline.lock(`name-${i}`)));
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected']);
  for (const answer of answers) if (answer.status === 'rejected') expect(answer.reason).toMatchObject(exhausted('STREAM_LIMIT'));
  await pipeline.lock('name-5');
});

describe('SERVER_FULL', () => {
  test('counts acquires without an answer, of all namespaces and connections; one that leaves makes room', async () => {
    const small = await startServer({ env: { STAFETT_MAX_PENDING_ACQUIRES: '2' } });
    const [one, two] = [connectStub(small, freshNamespace()), connectStub(small, freshNamespace())];
    const mine = await one.openSession();
    for (const each of [one, two]) await each.lock('name');
    void one.acquire('name', { ...WAIT, session: mine, requestId: 'first' });
    const abort = new AbortController();
    void two.acquire('name', WAIT, abort.signal);
    await Promise.all([waiting(one, 'name', 1), waiting(two, 'name', 1)]);
    const full = { ...exhausted('SERVER_FULL'), metadata: { limit: 'STAFETT_MAX_PENDING_ACQUIRES' } };
    expect(await refusal(one.acquire('free'))).toMatchObject(full);
    expect(await refusal(two.pipeline().acquire('free'))).toMatchObject(full);
    void one.acquire('name', { ...WAIT, session: mine, requestId: 'first' }); // it is not one more
    await mine.streams[0]?.send(mine.id); // keepalives are not counted
    abort.abort();
    await waiting(two, 'name', 0);
    await two.lock('free');
  });

  test('counts the bytes of names and owners', async () => {
    const small = await startServer({ env: { STAFETT_MAX_PENDING_BYTES: '65536' } });
    const stub = connectStub(small, namespace);
    await stub.lock('name');
    const long = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(256, '-'));
    const pipeline = stub.pipeline();
    for (let i = 0; i < 4; i++) void pipeline.acquire(['name', ...long], WAIT);
    await waiting(stub, 'name', 4);
    const full = { ...exhausted('SERVER_FULL'), metadata: { limit: 'STAFETT_MAX_PENDING_BYTES' } };
    expect(await refusal(stub.acquire(['name', ...long], WAIT))).toMatchObject(full);
    await stub.lock('free');
    expect((await httpGet(small, '/metrics')).body).toMatch(/^stafett_pending_acquires 4$/m);
  });
});

test('TOO_MANY_NAMESPACES: the server knows only so many', async () => {
  const small = await startServer({ env: { STAFETT_MAX_NAMESPACES: '2' } });
  for (const name of ['one', 'two', 'one']) await connectStub(small, name).openSession();
  expect(await refusal(connectStub(small, 'three').openSession())).toMatchObject(exhausted('TOO_MANY_NAMESPACES'));
  expect(await refusal(connectStub(small, 'three').acquire('name'))).toMatchObject(exhausted('TOO_MANY_NAMESPACES'));
  await connectStub(small, 'two').lock('name');
});
