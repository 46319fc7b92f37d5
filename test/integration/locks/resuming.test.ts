import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { eventually } from '../../support/eventually.js';
import { metric } from '../../support/slow-reader.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import type { StubPipeline } from '../../support/stub-pipeline.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

// §3, §4.1.7–8: a broken pipeline keeps its place in the queues for the resume window, on whatever server it comes back.

const WINDOW_MS = 1_000;
const WAIT = { waitMs: 60_000 };

let stack: TestStack;
/** Its resume window is short. */
let brief: TestServer;
/** Its resume window is longer than any test. */
let patient: TestServer;
let namespace: string;
let client: StubClient;
let session: StubSession;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_RESUME_WINDOW: `${WINDOW_MS}ms` } });
  brief = stack.server;
  patient = await stack.addServer({ env: { STAFETT_RESUME_WINDOW: '5m' } });
});

beforeEach(async () => {
  namespace = freshNamespace();
  client = connectStub(patient, namespace);
  session = await client.openSession({ ttlMs: 10_000 });
});

/** Waits behind one and before another in the queue of `name`, under `requestId`, on a pipeline of the server. */
async function queueInTheMiddle(server: TestServer) {
  const hold = await client.lock('name');
  const first = client.lock('name', WAIT);
  await waiting(client, 'name', 1);
  const at = connectStub(server, namespace);
  const pipeline = at.pipeline();
  void pipeline.acquire('name', { ...WAIT, session, requestId: 'mine' });
  await waiting(client, 'name', 2);
  const last = client.lock('name', WAIT);
  await waiting(client, 'name', 3);
  return { hold, first, last, pipeline };
}

/** Breaks a pipeline of another session on the server, too, and waits until that one's window is over. */
async function untilTheWindowIsOver(server: TestServer): Promise<void> {
  const canary = connectStub(server, namespace);
  const hold = await canary.lock('canary');
  const pipeline = canary.pipeline();
  void pipeline.acquire('canary', { ...WAIT, session: await canary.openSession({ ttlMs: 10_000 }) });
  await waiting(client, 'canary', 1);
  await broken(pipeline);
  await waiting(client, 'canary', 0);
  await canary.release(hold);
}

async function broken(pipeline: StubPipeline): Promise<void> {
  pipeline.break();
  await pipeline.ended;
}

describe('the waiting acquires of a broken pipeline', () => {
  test.each(['another', 'the same'])('keep their place when they come back in time to %s server', async (which) => {
    const { hold, first, last, pipeline } = await queueInTheMiddle(brief);
    await broken(pipeline);
    const back = connectStub(which === 'another' ? patient : brief, namespace).pipeline();
    const resumed = back.lock('name', { ...WAIT, session, requestId: 'mine' });
    await untilTheWindowIsOver(brief); // which must not end it: it has come back

    await waiting(client, 'name', 3);
    await client.release(hold);
    const tokens: bigint[] = [];
    for (const grant of [first, resumed, last]) {
      const { fencingToken, lockId } = await grant;
      tokens.push(fencingToken);
      await client.release({ lockId });
    }
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
  });

  test('leave the queue after the window when they do not come back, and those behind move up at once', async () => {
    const hold = await client.lock('held');
    const pipeline = connectStub(brief, namespace).pipeline();
    void pipeline.acquire(['free', 'held'], { ...WAIT, session });
    await waiting(client, 'free', 1);
    const behind = client.lock('free', WAIT);
    await waiting(client, 'free', 2);

    const brokenAt = performance.now();
    await broken(pipeline);
    await behind;
    const took = performance.now() - brokenAt;
    expect(took).toBeGreaterThan(WINDOW_MS * 0.95);
    expect(took).toBeLessThan(WINDOW_MS + 500);
    await waiting(client, 'held', 0);
    await client.release(hold);
  });

  test('that were granted in the meantime find their grant when they come back', async () => {
    const hold = await client.lock('name');
    const pipeline = connectStub(brief, namespace).pipeline();
    void pipeline.acquire('name', { ...WAIT, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    await broken(pipeline);
    await client.release(hold);
    const { holder } = await client.getLock('name');
    expect(holder?.sessionId).toBe(session.id);
    const grant = await client.lock('name', { ...WAIT, session, requestId: 'mine' });
    expect(grant.fencingToken).toBe(holder?.fencingToken);
    await untilTheWindowIsOver(brief);
    expect((await client.getLock('name')).holder?.fencingToken).toBe(grant.fencingToken);
  });

  test('that were granted in the meantime and do not come back give it to the next after the window', async () => {
    const hold = await client.lock('name');
    const pipeline = connectStub(brief, namespace).pipeline();
    void pipeline.acquire('name', { ...WAIT, session });
    await waiting(client, 'name', 1);
    await broken(pipeline);
    const next = client.lock('name', WAIT);
    await waiting(client, 'name', 2);
    await client.release(hold);
    await client.release(await next);
    await free(client, 'name');
  });

  test('that Redis had not answered yet, and do not come back, are taken back after the window', async () => {
    const redis = stack.redis.client();
    await client.lock('held', { ttlMs: 20_000 });
    const handled = () => metric(brief, 'grpc_server_handled_total', 'Pipeline');
    const [pipeline, before] = [connectStub(brief, namespace).pipeline(), await handled()];
    await redis.client('PAUSE', 10_000, 'WRITE');
    try {
      void pipeline.acquireRun(['a', 'held', 'b'], 1, { ...WAIT, session });
      void pipeline.acquire('c', { ...WAIT, session });
      await eventually('the server to have asked Redis', async () => (await metric(brief, 'stafett_pending_acquires')) === 4);
      await broken(pipeline);
      await eventually('the server to see that the stream broke', async () => (await handled()) > before);
    } finally {
      await redis.client('UNPAUSE');
    }
    const names = ['a', 'b', 'c'];
    await eventually('them to be granted', async () => (await client.getLock('c')).holder !== undefined);
    await Promise.all([waiting(client, 'held', 0), ...names.map((name) => free(client, name))]);
  });

  test('leave at once when they have no session: nobody could come back for them', async () => {
    await client.lock('name');
    const pipeline = connectStub(patient, namespace).pipeline();
    void pipeline.acquire('name', WAIT);
    await waiting(client, 'name', 1);
    await broken(pipeline);
    await waiting(client, 'name', 0);
  });

  test('keep their place when the connection is cut, too', async () => {
    const proxy = await startTcpProxy({ port: brief.grpcPort });
    const hold = await client.lock('name');
    const pipeline = connectStub(proxy, namespace).pipeline();
    void pipeline.acquire('name', { ...WAIT, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    proxy.cut();
    await pipeline.ended;
    const resumed = client.lock('name', { ...WAIT, session, requestId: 'mine' });
    await untilTheWindowIsOver(brief);
    await client.release(hold);
    await resumed;
  });
});

describe('when a server dies', () => {
  test('its clients keep their session, their locks and their place in the queue on another', async () => {
    const mortal = await stack.addServer();
    const doomed = connectStub(mortal, namespace);
    const survivor = await doomed.openSession({ ttlMs: 5_000 });
    const held = await doomed.lock('held', { session: survivor });
    const hold = await client.lock('name');
    void doomed.pipeline().acquire('name', { ...WAIT, session: survivor, requestId: 'mine' });
    await waiting(client, 'name', 1);
    const behind = client.lock('name', WAIT);
    await waiting(client, 'name', 2);

    await mortal.kill();
    survivor.keepAlive(client);
    const resumed = client.lock('name', { ...WAIT, session: survivor, requestId: 'mine' });
    expect((await client.getLock('held')).holder).toMatchObject({ sessionId: survivor.id, fencingToken: held.fencingToken });
    await client.release(hold);
    const grant: Grant = await resumed;
    expect((await client.getLock('name')).waiterCount).toBe(1);
    await client.release(grant);
    await behind;
  });
});
