import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EndReason, type Lock } from '../../../server/src/gen/stafett/v1/lock.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { toMs } from '../../support/stub-duration.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.2: who has a lock and since when, who waits, who had it before; and what an operator can do about it.

const WAIT = { waitMs: 60_000 };
const OWNER = { host: 'node-1', thread: 'worker-3', client: 'journal/2.0', traceId: '4bf92f3577b34da6a3ce929d0e0e4736' };
const U64_MAX = 2n ** 64n - 1n;

let servers: [TestServer, TestServer];
let namespace: string;
let client: StubClient;
let away: StubClient;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
  [client, away] = servers.map((server) => connectStub(server, namespace)) as [StubClient, StubClient];
});

describe('GetLock', () => {
  test('shows a name that was never locked as free, and does not remember that it was asked', async () => {
    expect(await client.getLock('never')).toEqual({ name: 'never', holder: undefined, waiterCount: 0, waiters: [], history: [] });
    expect((await client.locks.listLocks({})).locks).toEqual([]);
  });

  test('shows the holder: who, what for, under which token, since and until when', async () => {
    const grant = await client.lock('name', { owner: OWNER, purpose: 'close the books' });
    const { holder } = await away.getLock('name');
    expect(holder).toEqual({
      sessionId: '',
      owner: OWNER,
      purpose: 'close the books',
      fencingToken: grant.fencingToken,
      acquireTime: grant.acquireTime,
      expireTime: grant.expireTime,
    });
  });

  test('takes from the session what the acquire does not say', async () => {
    const session = await client.openSession({ client: { name: 'tax', version: '7', host: 'node-9' } });
    await client.lock('a', { session });
    await client.lock('b', { session, owner: { host: '', thread: 'task-1', client: '', traceId: '' } });
    await client.lock('c', { session, owner: OWNER });
    const owners = await Promise.all(['a', 'b', 'c'].map(async (name) => (await away.getLock(name)).holder?.owner));
    const fromSession = { host: 'node-9', thread: '', client: 'tax/7', traceId: '' };
    expect(owners).toEqual([fromSession, { ...fromSession, thread: 'task-1' }, OWNER]);
  });

  test('shows the first ten waiters in order, and how many there are', async () => {
    await client.lock('name');
    const session = await away.openSession({ client: { name: 'tax', version: '7', host: 'node-9' } });
    for (let i = 0; i < 13; i++) {
      void away.acquire('name', { ...WAIT, purpose: `p${i}`, ...(i % 2 && { session }) });
      await waiting(client, 'name', i + 1);
    }
    const { waiters, waiterCount } = await client.getLock('name');
    expect(waiterCount).toBe(13);
    expect(waiters.map(({ purpose }) => purpose)).toEqual(Array.from({ length: 10 }, (_, i) => `p${i}`));
    expect(waiters[1]).toMatchObject({ sessionId: session.id, owner: { host: 'node-9', client: 'tax/7' } });
    const times = waiters.map(({ enqueueTime }) => toMs(enqueueTime));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  test('shows how each of the last holds ended', async () => {
    const session = await client.openSession();
    await client.release(await client.lock('name', { purpose: 'one' }));
    await client.lock('name', { session, purpose: 'two' });
    await client.sessions.closeSession({ sessionId: session.id });
    await client.lock('name', { purpose: 'three' });
    await client.forceRelease('name');
    await client.lock('name', { purpose: 'four', ttlMs: 1_000 });
    const last = await client.lock('name', WAIT);
    const { history } = await away.getLock('name');
    expect(history.map(({ purpose, endReason }) => [purpose, EndReason[endReason]])).toEqual([
      ['four', 'EXPIRED'],
      ['three', 'FORCED'],
      ['two', 'SESSION_CLOSED'],
      ['one', 'RELEASED'],
    ]);
    for (const [i, { acquireTime, endTime, fencingToken }] of history.entries()) {
      const next = history[i - 1] ?? last;
      expect(fencingToken).toBeLessThan(next.fencingToken);
      expect(toMs(acquireTime)).toBeLessThanOrEqual(toMs(endTime));
      expect(toMs(endTime)).toBeLessThanOrEqual(toMs(next.acquireTime));
    }
  });

  test('remembers the last ten holders, latest first, and no more', async () => {
    for (let i = 0; i < 23; i++) await client.release(await client.lock('name', { purpose: `p${i}` }));
    const { history } = await client.getLock('name');
    expect(history.map(({ purpose }) => purpose)).toEqual(Array.from({ length: 10 }, (_, i) => `p${22 - i}`));
  });
});

describe('Contention', () => {
  test('tells who is in the way since when, of those names that are', async () => {
    const grant = await client.lock('b', { owner: OWNER, purpose: 'close the books' });
    const { contention } = await away.acquire(['a', 'b']);
    expect(contention).toMatchObject({ queueLength: 0, timedOut: false });
    expect(contention?.blockers).toEqual([{ ...(await client.getLock('b')), history: [] }]);
    expect(contention?.blockers[0]?.holder).toMatchObject({ owner: OWNER, acquireTime: grant.acquireTime, expireTime: grant.expireTime });
  });

  test('after a wait tells so', async () => {
    await client.lock('name');
    expect((await client.acquire('name', { waitMs: 50 })).contention).toMatchObject({ timedOut: true, blockers: [{ name: 'name' }] });
    expect((await client.acquire('name', { waitMs: 0 })).contention).toMatchObject({ timedOut: false });
  });
});

describe('ForceRelease', () => {
  test('takes the name from whoever has it, with all that was granted together with it, and hands it to the next', async () => {
    const lost = await client.lock(['a', 'b'], { owner: OWNER });
    const next = away.lock('b', WAIT);
    await waiting(client, 'b', 1);
    expect(await away.forceRelease('a')).toMatchObject({ owner: OWNER, fencingToken: lost.fencingToken, endReason: EndReason.FORCED });
    const { fencingToken } = await next;
    expect(fencingToken).toBeGreaterThan(lost.fencingToken);
    await free(client, 'a');
    expect(await refusal(client.release(lost))).toMatchObject({ reason: 'LOCK_NOT_HELD' });
    expect((await client.getLock('b')).holder?.fencingToken).toBe(fencingToken);
  });

  test('with a token takes it only from the grant of that token', async () => {
    const grant = await client.lock('name', { owner: OWNER });
    for (const token of [1n, grant.fencingToken - 1n, grant.fencingToken + 1n, U64_MAX]) {
      const error = await refusal(client.forceRelease('name', token));
      expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD' });
      expect(error.metadata).toMatchObject({ holder_host: 'node-1', holder_fencing_token: String(grant.fencingToken) });
    }
    expect((await client.getLock('name')).holder?.fencingToken).toBe(grant.fencingToken);
    expect(await client.forceRelease('name', grant.fencingToken)).toMatchObject({ fencingToken: grant.fencingToken });
  });

  test('of a name that nobody has takes nothing, whatever the token', async () => {
    expect(await client.forceRelease('never')).toBeUndefined();
    const grant = await client.lock('name');
    await client.release(grant);
    expect(await client.forceRelease('name', grant.fencingToken)).toBeUndefined();
    expect((await client.getLock('name')).history).toHaveLength(1);
  });

  test.each([
    ['the same server', () => client],
    ['another server', () => away],
  ])('on %s tells the holder’s session, at once and with each keepalive until it has released', async (_, at) => {
    const session = await client.openSession();
    const [lost, kept] = [await client.lock('a', { session }), await client.lock('b', { session })];
    await at().forceRelease('a');
    await eventually('the holder to be told', () => session.revoked().length > 0);
    expect(session.streams[0]?.responses.at(-1)).toMatchObject({ sequence: 0n, states: [{ sessionId: session.id, alive: true }] });
    for (const server of [away, client]) {
      expect((await session.keepAlive(server).send(session.id)).states).toMatchObject([{ alive: true, revokedLockIds: [lost.lockId] }]);
    }
    await refusal(client.release(lost));
    expect((await session.keepAlive(away).send(session.id)).states).toMatchObject([{ alive: true, revokedLockIds: [] }]);
    await client.release(kept);
  });
});

describe('ListLocks', () => {
  const NAMES = [
    'a',
    'a/1',
    'a/2',
    'a*',
    'a?b',
    'a[b]',
    'a\\b',
    '%',
    '%_%',
    "o'clock",
    '"quoted"',
    'new\nline',
    'tab\t',
    '\r\n',
    ' ',
    'å/1',
    'å',
    'å',
    '日本語',
    '👩‍👩‍👧',
    '{tag}',
    ':',
    'x'.repeat(256),
    '\u0001',
    '\uffff',
    '￿',
    '.',
    '-',
    '+',
    '(a',
    '[a',
    'ä'.repeat(128),
  ]; // prettier-ignore
  const byBytes = (names: readonly string[]) => [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

  async function list(request: { prefix?: string; pageSize?: number; activeOnly?: boolean } = {}): Promise<Lock[]> {
    const locks: Lock[] = [];
    let pageToken = '';
    do {
      const page = await away.locks.listLocks({ ...request, pageToken });
      if (request.pageSize) expect(page.locks.length).toBeLessThanOrEqual(request.pageSize);
      locks.push(...page.locks);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return locks;
  }

  const namesOf = (locks: readonly Lock[]) => locks.map(({ name }) => name);

  test.each([0, 1, 3, 1_000])('lists whatever names, each once, by their bytes, in pages of %i', async (pageSize) => {
    for (const name of new Set(NAMES)) await client.lock(name, { purpose: name });
    const locks = await list({ pageSize });
    expect(namesOf(locks)).toEqual(byBytes(NAMES));
    for (const { name, holder } of locks) expect(holder?.purpose).toBe(name);
    for (const prefix of ['a', 'a*', 'å', '%', '\\', '"', 'new\n', 'x'.repeat(255), '👩', 'no such', '{', '(', '[', '+', '-']) {
      expect(namesOf(await list({ prefix, pageSize }))).toEqual(byBytes(NAMES.filter((name) => name.startsWith(prefix))));
    }
  });

  test('lists only what is held or waited for when asked to, and pages over what is not', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `name-${String(i).padStart(2, '0')}`);
    const grants = await Promise.all(names.map((name) => client.lock(name)));
    for (const [i, grant] of grants.entries()) if (i % 10 !== 7) await client.release(grant);
    expect(namesOf(await list({ activeOnly: true, pageSize: 4 }))).toEqual(['name-07', 'name-17', 'name-27']);
    expect(namesOf(await list({ pageSize: 4 }))).toEqual(names);
    void client.acquire(['name-00', 'name-07'], WAIT);
    await waiting(client, 'name-00', 1);
    expect(await list({ activeOnly: true })).toMatchObject([
      { name: 'name-00', waiterCount: 1, holder: undefined, waiters: [], history: [] },
      { name: 'name-07', waiterCount: 1, holder: { fencingToken: grants[7]?.fencingToken } },
      { name: 'name-17' },
      { name: 'name-27' },
    ]);
  });

  test('pages on through names that come and go', async () => {
    for (const name of ['b', 'd', 'f']) await client.lock(name);
    const first = await client.locks.listLocks({ pageSize: 1 });
    await client.lock('a');
    await client.lock('c');
    const rest = await client.locks.listLocks({ pageSize: 10, pageToken: first.nextPageToken });
    expect(namesOf(rest.locks)).toEqual(['c', 'd', 'f']);
  });

  test('shows the locks of its own namespace only', async () => {
    await connectStub(servers[0], freshNamespace()).lock('foreign');
    await client.lock('mine');
    expect(namesOf(await list())).toEqual(['mine']);
    expect((await client.acquire('foreign')).grant).toBeDefined();
  });
});

test('names that look alike, and differ in their bytes, are different locks', async () => {
  const [composed, decomposed] = ['\u00e5', 'a\u030a'];
  await client.lock(composed);
  await client.lock(decomposed);
  expect((await client.acquire(composed)).contention).toMatchObject({ blockers: [{ name: composed }] });
});
