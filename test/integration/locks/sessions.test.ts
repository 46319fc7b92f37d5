import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EndReason } from '../../../server/src/gen/stafett/v1/lock.js';
import type { Session } from '../../../server/src/gen/stafett/v1/session.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { toDuration, toMs } from '../../support/stub-duration.js';
import { StubKeepAlives } from '../../support/stub-session.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';

// §2, §5: a session is a client's liveness, and everything that the client owns goes with it.

const WAIT = { waitMs: 60_000 };

let stack: TestStack;
let servers: [TestServer, TestServer];
let namespace: string;
let client: StubClient;
let away: StubClient;

beforeAll(async () => {
  stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
  [client, away] = servers.map((server) => connectStub(server, namespace)) as [StubClient, StubClient];
});

async function show(at: StubClient, sessionId: string): Promise<Session> {
  const { session } = await at.sessions.getSession({ sessionId });
  if (!session) throw new Error('a GetSessionResponse without a session');
  return session;
}

/** Of all pages, in their order. */
async function listIds(at: StubClient, pageSize: number): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = '';
  do {
    const page = await at.sessions.listSessions({ pageSize, pageToken });
    expect(page.sessions.length).toBeLessThanOrEqual(pageSize);
    ids.push(...page.sessions.map(({ sessionId }) => sessionId));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return ids;
}

describe('OpenSession', () => {
  test('by default is for 15 s, kept alive each 5 s', async () => {
    const { opened, interval } = await client.openSilentSession();
    expect([opened.ttl, interval].map(toMs)).toEqual([15_000, 5_000]);
    expect(toMs(opened.expireTime) - toMs(opened.openTime)).toBe(15_000);
    expect(Math.abs(toMs(opened.openTime) - Date.now())).toBeLessThan(5_000);
  });

  test('takes the TTL and the client that it is told, and every server shows them', async () => {
    const info = { name: 'tax-return-service', version: '1.2.3', host: 'node-å-✓' };
    const { opened, interval } = await client.openSilentSession({ ttlMs: 1_500, client: info });
    expect([opened.ttl, interval].map(toMs)).toEqual([1_500, 500]);
    expect(await show(away, opened.sessionId)).toEqual({ ...opened, client: info, lockCount: 0 });
  });
});

describe('KeepAlive', () => {
  test('extends by the TTL from now on, on whatever server', async () => {
    const { id, opened } = await client.openSilentSession({ ttlMs: 5_000 });
    let last = toMs(opened.expireTime);
    for (const at of [client, away, client]) {
      const { states } = await new StubKeepAlives(at).send(id);
      expect(states).toMatchObject([{ sessionId: id, alive: true, revokedLockIds: [] }]);
      expect(toMs(states[0]?.expireTime)).toBeGreaterThan(last);
      last = toMs((await show(client, id)).expireTime);
      expect(toMs(states[0]?.expireTime)).toBe(last);
    }
  });

  test('of several sessions on one stream is answered in the order of the request, with its sequence', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, async () => (await client.openSilentSession()).id));
    const stream = new StubKeepAlives(client);
    const answers = await Promise.all([stream.send(...ids), stream.send(), stream.send(...ids.toReversed())]);
    expect(answers.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n]);
    expect(answers.map(({ states }) => states.map(({ sessionId }) => sessionId))).toEqual([ids, [], ids.toReversed()]);
  });

  test('of what is no session, or not any more, tells that it is gone', async () => {
    const [living, closed, silent] = await Promise.all([1, 2, 3].map(() => client.openSilentSession({ ttlMs: 1_000 })));
    if (!living || !closed || !silent) throw new Error();
    living.keepAlive(away);
    await client.sessions.closeSession({ sessionId: closed.id });
    await eventually('the silent one to run out', async () => !(await listIds(client, 10)).includes(silent.id));
    const { states } = await new StubKeepAlives(client).send('unknown', closed.id, 'no id!', silent.id, living.id, '');
    expect(states.map(({ alive }) => alive)).toEqual([false, false, false, false, true, false]);
    expect(states.map(({ expireTime }) => expireTime !== undefined)).toEqual([false, false, false, false, true, false]);
    living.stop();
  });

  test('has no liveness of its own: when its stream breaks the session goes on', async () => {
    const session = await client.openSession({ ttlMs: 3_000 });
    const lock = await client.lock('name', { session });
    session.stop();
    expect((await show(client, session.id)).sessionId).toBe(session.id);
    session.keepAlive(away);
    await eventually('it to be kept alive', async () => toMs((await show(client, session.id)).expireTime) > toMs(lock.expireTime) + 2_000);
    await client.release(lock);
  });

  test('for 10,000 locks costs Redis what it costs for one', async () => {
    const redis = stack.redis.client();
    const costOf = async (locks: number) => {
      const session = await client.openSilentSession();
      const pipeline = client.pipeline();
      await Promise.all(Array.from({ length: locks }, (_, i) => pipeline.lock(`${locks}/${i}`, { session })));
      expect((await show(client, session.id)).lockCount).toBe(locks);
      const stream = new StubKeepAlives(client);
      const costs: string[][] = [];
      for (let i = 0; i < 10; i++) {
        await redis.call('CONFIG', 'RESETSTAT');
        await stream.send(session.id);
        const stats = await redis.info('commandstats');
        costs.push(
          [...stats.matchAll(/^cmdstat_(?!info|config|ping)(\S+?):calls=(\d+)/gm)].map(([, name, calls]) => `${name} ${calls}`).sort(),
        );
      }
      await client.sessions.closeSession({ sessionId: session.id });
      return costs.reduce((least, cost) => (cost.length < least.length ? cost : least)); // without what else happens now and then
    };
    const one = await costOf(1);
    expect(one).toContain('fcall 1');
    expect(await costOf(10_000)).toEqual(one);
  });
});

describe('CloseSession', () => {
  test('gives back all that it held, takes it out of every queue, and hands over at once', async () => {
    const session = await client.openSession();
    await client.lock(['a', 'b'], { session });
    await client.lock('held');
    const waiter = client.acquire(['c', 'held'], { ...WAIT, session });
    await waiting(client, 'held', 1);
    const next = [client.lock('a', WAIT), away.lock('b', WAIT), away.lock('c', WAIT)];
    for (const name of ['a', 'b']) await waiting(client, name, 1);
    await waiting(client, 'c', 2);

    await away.sessions.closeSession({ sessionId: session.id });
    await Promise.all(next);
    expect(await refusal(waiter)).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
    expect((await client.getLock('a')).history).toMatchObject([{ sessionId: session.id, endReason: EndReason.SESSION_CLOSED }]);
    expect(await refusal(show(client, session.id))).toMatchObject({ code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' });
  });

  test('of one with 2,000 locks hands all of them over at once, too', async () => {
    const session = await client.openSession();
    const names = Array.from({ length: 2_000 }, (_, i) => `name-${i}`);
    const [holders, waiters] = [client.pipeline(), away.pipeline()];
    await Promise.all(names.map((name) => holders.lock(name, { session })));
    const grants = names.map((name) => waiters.lock(name, { ...WAIT, ttlMs: 30_000 }));
    await waiting(client, 'name-1999', 1);
    const started = performance.now();
    await client.sessions.closeSession({ sessionId: session.id });
    const times = (await Promise.all(grants)).map(({ acquireTime }) => toMs(acquireTime));
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(Math.max(...times) - Math.min(...times)).toBeLessThan(1_000);
    expect(await refusal(holders.acquire('another', { session }))).toMatchObject({ reason: 'SESSION_NOT_FOUND' });
  });

  test('may be repeated, and is fine for what never was', async () => {
    const session = await client.openSession();
    for (const sessionId of [session.id, session.id, 'unknown', 'no id!', '']) {
      await client.sessions.closeSession({ sessionId });
      await away.sessions.closeSession({ sessionId });
    }
  });
});

describe('GetSession and ListSessions', () => {
  test('tell how many grants and waiting acquires a session has', async () => {
    const session = await client.openSession();
    await client.lock('held');
    const lock = await client.lock(['a', 'b'], { session });
    void client.acquire('held', { ...WAIT, session });
    await waiting(client, 'held', 1);
    expect((await show(away, session.id)).lockCount).toBe(2);
    await client.release(lock);
    expect((await away.sessions.listSessions({})).sessions.map(({ lockCount }) => lockCount)).toEqual([1]);
    await free(client, 'a');
  });

  test.each([1, 7, 25, 1_000])('list all sessions once, by id, in pages of %i, and no lease as one', async (pageSize) => {
    await client.lock('leased');
    const opened = await Promise.all(Array.from({ length: 25 }, async (_, i) => (await (i % 2 ? away : client).openSilentSession()).id));
    expect(await listIds(away, pageSize)).toEqual(opened.toSorted());
    for (const sessionId of opened.splice(0, 5)) await client.sessions.closeSession({ sessionId });
    expect(await listIds(client, pageSize)).toEqual(opened.toSorted());
  });

  test('do not know what is of another namespace', async () => {
    const session = await connectStub(servers[0], freshNamespace()).openSession();
    expect(await listIds(client, 100)).toEqual([]);
    expect(await refusal(show(client, session.id))).toMatchObject({ reason: 'SESSION_NOT_FOUND' });
    expect(await refusal(client.acquire('name', { session }))).toMatchObject({ reason: 'SESSION_NOT_FOUND' });
  });
});

test('without a session the TTL is the lease’s own, and Extend is what prolongs it', async () => {
  const lease = await client.lock('name', { ttlMs: 2_000 });
  expect(toMs(lease.expireTime) - toMs(lease.acquireTime)).toBe(2_000);
  expect(toMs(lease.ttl)).toBe(2_000);
  const extended = await client.extend(lease, 20_000);
  expect(toMs(extended.ttl)).toBe(20_000);
  expect(await away.extend(lease)).toMatchObject({
    ttl: toDuration(20_000),
    fencingToken: lease.fencingToken,
    acquireTime: lease.acquireTime,
  });
  const underSession = await client.lock('other', { session: await client.openSession() });
  expect(await refusal(client.extend(underSession))).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'LOCK_HELD_BY_SESSION' });
});
