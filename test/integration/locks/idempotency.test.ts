import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EndReason } from '../../../server/src/gen/stafett/v1/lock.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

// §4.1.7: what is asked twice is done once.

const WAIT = { waitMs: 60_000 };

let servers: TestServer[];
let namespace: string;
let client: StubClient;
let away: StubClient;
let session: StubSession;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  namespace = freshNamespace();
  [client, away] = servers.map((server) => connectStub(server, namespace)) as [StubClient, StubClient];
  session = await client.openSession();
});

describe('an acquire that is repeated with its request_id', () => {
  test.each([
    ['the same server', () => client],
    ['another server', () => away],
  ])('to %s finds its grant', async (_, at) => {
    const grant = await client.lock(['a', 'b'], { session, requestId: 'mine' });
    const again = await at().lock(['a', 'b'], { session, requestId: 'mine' });
    expect(again).toMatchObject({
      lockId: grant.lockId,
      names: ['a', 'b'],
      fencingToken: grant.fencingToken,
      acquireTime: grant.acquireTime,
    });
    expect((await client.sessions.getSession({ sessionId: session.id })).session?.lockCount).toBe(1);
    await client.release(grant);
    await free(client, 'a');
  });

  test('finds the grant of a lease, too', async () => {
    const grant = await client.lock('name', { requestId: 'my-lease' });
    expect(await away.lock('name', { requestId: 'my-lease' })).toMatchObject({ lockId: grant.lockId, fencingToken: grant.fencingToken });
  });

  test.each([
    ['the same server', () => client],
    ['another server', () => away],
  ])('to %s finds its place in the queue', async (_, at) => {
    const hold = await client.lock('name');
    const first = client.pipeline().lock('name', { ...WAIT, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    const second = client.lock('name', WAIT);
    await waiting(client, 'name', 2);
    const again = at()
      .pipeline()
      .lock('name', { ...WAIT, session, requestId: 'mine' });
    await at().getLock('name');
    await waiting(client, 'name', 2);
    await client.release(hold);
    const grant = await again;
    expect((await client.getLock('name')).waiterCount).toBe(1);
    if (at() === client) expect(await first).toEqual(grant);
    await client.release(grant);
    await second;
  });

  test('without a wait_timeout gives up its place', async () => {
    await client.lock('name');
    const first = client.acquire('name', { ...WAIT, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    expect((await client.acquire('name', { session, requestId: 'mine' })).contention).toMatchObject({ queueLength: 0 });
    await waiting(client, 'name', 0);
    expect((await first).contention).toBeDefined();
  });

  test.each([
    ['holds', false],
    ['waits', true],
  ])('for other names, while it %s, is refused', async (_, waits) => {
    if (waits) await client.lock('name');
    void client.pipeline().acquire('name', { ...WAIT, session, requestId: 'mine' });
    if (waits) await waiting(client, 'name', 1);
    else await client.getLock('name');
    const error = await refusal(away.acquire(['name', 'other'], { session, requestId: 'mine' }));
    expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'REQUEST_ID_REUSED', domain: 'stafett' });
    expect(error.metadata.names).toBe('["name"]');
    expect((await client.getLock('other')).holder).toBeUndefined();
  });

  test('after it has ended is a new acquire, and is not taken for granted by what is still told of the old one', async () => {
    const hold = await away.lock('name');
    const first = client.lock('name', { ...WAIT, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    await away.release(hold); // told to the first server, twice: at once, and again by its next re-check
    await client.release(await first);
    const other = await away.lock('name');
    const second = client.acquire('name', { waitMs: 2_500, session, requestId: 'mine' });
    expect((await second).contention).toMatchObject({ timedOut: true });
    expect((await client.getLock('name')).holder?.fencingToken).toBe(other.fencingToken);
  });

  test('of another session is another acquire', async () => {
    await client.lock('name', { session, requestId: 'mine' });
    expect((await client.acquire('name', { session: await client.openSession(), requestId: 'mine' })).contention).toBeDefined();
  });
});

/** A client whose network has gone dead without a word: its server takes it for alive, and it is on another server now. */
describe('an acquire that has moved to another server from a dead connection', () => {
  async function moved(waitMs: number) {
    const proxy = await startTcpProxy({ port: (servers[0] as TestServer).grpcPort });
    const hold = await client.lock('name');
    const dead = connectStub(proxy, namespace);
    void dead.acquire('name', { waitMs, session, requestId: 'mine' });
    await waiting(client, 'name', 1);
    proxy.pause();
    const alive = away.lock('name', { ...WAIT, session, requestId: 'mine' });
    await away.getLock('name');
    return { proxy, hold, alive };
  }

  test('keeps its place when the first server finds the connection dead', async () => {
    const { proxy, hold, alive } = await moved(60_000);
    proxy.cut();
    await leftAlone(client);
    await waiting(client, 'name', 1);
    await client.release(hold);
    await alive;
  });

  test('keeps its grant when the first server finds the connection dead', async () => {
    const { proxy, hold, alive } = await moved(60_000);
    await client.release(hold);
    const grant = await alive;
    proxy.cut();
    await leftAlone(client);
    expect((await client.getLock('name')).holder?.fencingToken).toBe(grant.fencingToken);
  });

  test('keeps its place when the wait_timeout of the first call passes', async () => {
    const { hold, alive } = await moved(400);
    await client.lock('timer');
    await client.acquire('timer', { waitMs: 500 }); // asked later and for longer: over after the other
    await waiting(client, 'name', 1);
    await client.release(hold);
    await alive;
  });

  /** By then the server has done what it does when it loses a connection: it has just done so for another one. */
  async function leftAlone(at: StubClient): Promise<void> {
    const proxy = await startTcpProxy({ port: at.port });
    const hold = await at.lock('canary');
    void connectStub(proxy, namespace).acquire('canary', WAIT);
    await waiting(at, 'canary', 1);
    proxy.cut();
    await waiting(at, 'canary', 0);
    await at.release(hold);
  }
});

describe('a release', () => {
  test.each(['session', 'lease'])('may be repeated, on any server (%s)', async (kind) => {
    const grant = await client.lock('name', kind === 'session' ? { session } : {});
    await client.release(grant);
    await client.release(grant);
    await away.release(grant);
    const pipeline = away.pipeline();
    await Promise.all([pipeline.release(grant), pipeline.release(grant)]);
    expect((await client.getLock('name')).history).toHaveLength(1);
  });

  test('repeated does not take the lock from the next holder', async () => {
    const grant = await client.lock('name', { session });
    await client.release(grant);
    const next = await away.lock('name');
    await client.release(grant);
    expect((await client.getLock('name')).holder?.fencingToken).toBe(next.fencingToken);
  });

  test('of a lease that has expired tells who has the lock now', async () => {
    const lost = await client.lock('name', { ttlMs: 1_000 });
    const owner = { host: 'node-7', thread: 'worker-3', client: 'journal/2', traceId: 'abc' };
    const next = await away.lock('name', { ...WAIT, owner, purpose: 'close the books' });
    const error = await refusal(client.release(lost));
    expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD', domain: 'stafett' });
    expect(error.metadata).toEqual({
      lock_id: lost.lockId,
      holder_name: 'name',
      holder_host: 'node-7',
      holder_thread: 'worker-3',
      holder_client: 'journal/2',
      holder_purpose: 'close the books',
      holder_fencing_token: String(next.fencingToken),
      holder_since: new Date(Number(next.acquireTime?.seconds) * 1000 + (next.acquireTime?.nanos ?? 0) / 1e6).toISOString(),
    });
    expect(error.message).toContain('node-7');
    expect(await refusal(client.extend(lost))).toMatchObject({ reason: 'LOCK_NOT_HELD', metadata: { holder_host: 'node-7' } });
  });

  test.each([
    ['a session that ran out', EndReason.EXPIRED],
    ['a closed session', EndReason.SESSION_CLOSED],
    ['a lock that was taken away', EndReason.FORCED],
  ])('of a grant of %s is LOCK_NOT_HELD, also in a pipeline', async (_, how) => {
    const silent = await client.openSilentSession({ ttlMs: 1_000 });
    const lost = await client.lock('name', { session: silent });
    if (how === EndReason.SESSION_CLOSED) await client.sessions.closeSession({ sessionId: silent.id });
    if (how === EndReason.FORCED) await client.forceRelease('name');
    const next = await client.lock('name', WAIT);
    expect((await client.getLock('name')).history[0]?.endReason).toBe(how);
    const facts = {
      code: Status.FAILED_PRECONDITION,
      reason: 'LOCK_NOT_HELD',
      metadata: { holder_fencing_token: String(next.fencingToken) },
    };
    expect(await refusal(client.release(lost))).toMatchObject(facts);
    if (how !== EndReason.FORCED) expect(await refusal(away.pipeline().release(lost))).toMatchObject(facts);
  });

  test('of a grant that never was is LOCK_NOT_HELD', async () => {
    expect(await refusal(client.release({ lockId: '~nobody.0' }))).toMatchObject({
      reason: 'LOCK_NOT_HELD',
      metadata: { lock_id: '~nobody.0' },
    });
    expect(await refusal(client.release({ lockId: 'nobody.1' }))).toMatchObject({ reason: 'LOCK_NOT_HELD' });
  });
});

describe('CancelAcquire', () => {
  test('releases what was granted, takes out who waits, and is fine when there is nothing', async () => {
    await client.lock('name', { session, requestId: 'one' });
    const two = client.acquire('name', { ...WAIT, session, requestId: 'two' });
    await waiting(client, 'name', 1);
    await away.cancel('two', session);
    expect(await refusal(two)).toMatchObject({ code: Status.CANCELLED, reason: 'CANCELLED' });
    await away.cancel('one', session);
    await free(client, 'name');
    for (const requestId of ['one', 'two', 'never']) await away.cancel(requestId, session);
    await away.cancel('never');
    await away.cancel('one', { id: 'no-such-session' });
  });

  test('of a grant hands it to the next', async () => {
    await client.lock('name', { session, requestId: 'one' });
    const next = away.lock('name', WAIT);
    await waiting(client, 'name', 1);
    await client.cancel('one', session);
    await next;
  });

  test('of one session does not touch the same request_id of another', async () => {
    const grant = await client.lock('name', { session, requestId: 'one' });
    await client.cancel('one', await client.openSession());
    await client.cancel('one');
    expect((await client.getLock('name')).holder?.fencingToken).toBe(grant.fencingToken);
  });
});
