import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startServer, startStack, type TestServer } from '../../support/stack.js';
import { granted } from '../../support/stub-acquire.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import type { StubPipeline } from '../../support/stub-pipeline.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, free, freshNamespace, waiting } from '../../support/stub-stack.js';
import { invalid } from './bad-requests.js';

// Runs are what many commands would be, for less: whatever a command can meet, one of a run can.

const WAIT = { waitMs: 60_000 };

let server: TestServer;
let elsewhere: TestServer;
let namespace: string;
let client: StubClient;
let session: StubSession;
let pipeline: StubPipeline;

beforeAll(async () => {
  const stack = await startStack();
  server = stack.server;
  elsewhere = await stack.addServer({});
});

beforeEach(async () => {
  namespace = freshNamespace();
  client = connectStub(server, namespace);
  session = await client.openSession();
  pipeline = client.pipeline();
});

const names = (count: number, prefix = 'name'): string[] => Array.from({ length: count }, (_, i) => `${prefix}/${i}`);
const settled = (promises: readonly Promise<unknown>[]) => Promise.allSettled(promises).then((all) => all.map(({ status }) => status));

describe('a run of acquires', () => {
  test('is granted in its order, with tokens that grow, and given back by a run in any order', async () => {
    const wanted = names(300); // more than go to Redis together
    const grants = (await Promise.all(pipeline.acquireRun(wanted, 41, { session, ...WAIT }))).map(granted);
    expect(grants.map(({ lockId }) => lockId)).toEqual(wanted.map((_, i) => `${session.id}.${41 + i}`));
    const tokens = grants.map(({ fencingToken }) => fencingToken);
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(tokens).size).toBe(300);
    const { holder } = await client.getLock('name/299');
    expect(holder).toMatchObject({ sessionId: session.id, fencingToken: tokens[299], acquireTime: grants[299]?.acquireTime });
    expect(grants[299]?.expireTime).toEqual(holder?.expireTime);
    const offsets = wanted.map((_, i) => 299 - i);
    await Promise.all(pipeline.releaseRun(session, 41, offsets));
    expect((await client.sessions.getSession({ sessionId: session.id })).session?.lockCount).toBe(0);
    const { history } = await client.getLock('name/0');
    expect(history).toMatchObject([{ fencingToken: tokens[0] }]);
  });

  test('tells each what became of it: granted at once, later, in somebody’s hands', async () => {
    const hold = await client.lock('held');
    const [before, held, after] = pipeline.acquireRun(['a', 'held', 'b'], 1, { session, ...WAIT });
    expect(granted(await before!).names).toEqual(['a']);
    expect(granted(await after!).names).toEqual(['b']);
    await waiting(client, 'held', 1);
    const outcomes = await Promise.all(pipeline.acquireRun(['c', 'held'], 11, { session }));
    expect(outcomes).toMatchObject([{ grant: { names: ['c'] } }, { contention: { timedOut: false, blockers: [{ name: 'held' }] } }]);
    await client.release(hold);
    expect(granted(await held!)).toMatchObject({ names: ['held'], lockId: `${session.id}.2` });
    const late = await Promise.all(pipeline.acquireRun(['d', 'held'], 21, { session, waitMs: 50 }));
    expect(late).toMatchObject([{ grant: { names: ['d'] } }, { contention: { timedOut: true } }]);
  });

  test('queues in its order, also behind itself', async () => {
    const hold = await client.lock('name');
    const waits = pipeline.acquireRun(['name', 'name', 'name'], 1, { session, ...WAIT });
    await waiting(client, 'name', 3);
    await client.release(hold);
    const tokens: bigint[] = [];
    for (const [i, wait] of waits.entries()) {
      const grant = granted(await wait);
      tokens.push(grant.fencingToken);
      expect((await client.getLock('name')).waiterCount).toBe(2 - i);
      await pipeline.release(grant);
    }
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
  });

  test('shows for whom and what for', async () => {
    const owner = { host: 'pod-7', thread: 'main', client: 'app/1.0', traceId: 'cafe' };
    await Promise.all(pipeline.acquireRun(['a', 'b'], 1, { session, owner, purpose: 'journal' }));
    expect((await client.getLock('b')).holder).toMatchObject({ owner, purpose: 'journal' });
  });

  test('refuses only those that are wrong', async () => {
    const bad = ['good/1', '', 'good/2', 'n'.repeat(257), '~process/x#1', 'good/3'];
    const results = pipeline.acquireRun(bad, 1, { session });
    expect(await settled(results)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'rejected', 'fulfilled']);
    for (const at of [1, 3, 4]) expect(await refusal(results[at]!)).toMatchObject(invalid('names'));
    await Promise.all(pipeline.acquireRun(['good/4', 'good/5'], 9, { session }));
  });

  test('of a session that is not there is refused', async () => {
    for (const id of ['nobody', '~lease']) {
      const results = pipeline.acquireRun(['a', 'b'], 1, { session: { id } });
      for (const result of results) expect((await refusal(result)).reason).toBe('SESSION_NOT_FOUND');
    }
    const without = { names: ['a'], sessionId: '', firstRequest: 1n };
    expect(await refusal(pipeline.command({ $case: 'acquireRun', value: without }, 1_001n))).toMatchObject(
      invalid('acquire_run.session_id'),
    );
    await free(client, 'a');
  });

  test.each([0, -1, 2 ** 53])('whose first request is %s is refused', async (first) => {
    const raw = { names: ['a', 'b'], sessionId: session.id, firstRequest: BigInt.asUintN(64, BigInt(first)) };
    const result = pipeline.command({ $case: 'acquireRun', value: raw }, 1_001n);
    expect(await refusal(result)).toMatchObject(invalid('acquire_run.first_request'));
  });

  test('of nothing is refused', async () => {
    const run = { names: [], sessionId: session.id, firstRequest: 1n };
    expect(await refusal(pipeline.command({ $case: 'acquireRun', value: run }))).toMatchObject(invalid('acquire_run.names'));
    const releases = { sessionId: session.id, firstRequest: 1n, offsets: [] };
    expect(await refusal(pipeline.command({ $case: 'releaseRun', value: releases }))).toMatchObject(invalid('release_run.offsets'));
  });

  test('for which there are not enough ids ends the stream', async () => {
    const run = { names: ['a', 'b'], sessionId: session.id, firstRequest: 1n };
    void pipeline.command({ $case: 'acquireRun', value: run }, 2n ** 64n - 1n).catch(() => {});
    expect(await pipeline.ended).toMatchObject({ code: Status.INVALID_ARGUMENT });
    await free(client, 'a');
  });

  test('counts each of its commands in a message', async () => {
    const results = pipeline.acquireRun(names(1_001), 1, { session });
    expect(await refusal(results[0]!)).toMatchObject(invalid('commands'));
    expect((await client.sessions.getSession({ sessionId: session.id })).session?.lockCount).toBe(0);
  });

  test('finds what it was granted when it comes again, by a run, alone, and on another server', async () => {
    const first = (await Promise.all(pipeline.acquireRun(['a', 'b', 'c'], 1, { session }))).map(granted);
    const again = (await Promise.all(pipeline.acquireRun(['a', 'b', 'c'], 1, { session }))).map(granted);
    const there = connectStub(elsewhere, namespace).pipeline();
    const abroad = (await Promise.all(there.acquireRun(['a', 'b', 'c'], 1, { session }))).map(granted);
    const alone = granted(await pipeline.acquire('b', { session, requestId: '2' }));
    const tokens = (grants: typeof first) => grants.map(({ fencingToken }) => fencingToken);
    expect([tokens(again), tokens(abroad), alone.fencingToken]).toEqual([tokens(first), tokens(first), first[1]?.fencingToken]);
    const other = pipeline.acquireRun(['a', 'x'], 1, { session });
    expect((await refusal(other[1]!)).reason).toBe('REQUEST_ID_REUSED');
    await free(client, 'x');
  });

  test('keeps its places when its stream breaks, wherever it comes again', async () => {
    const holds = [await client.lock('a'), await client.lock('b')];
    void pipeline.acquireRun(['a', 'b'], 1, { session, ...WAIT });
    await Promise.all([waiting(client, 'a', 1), waiting(client, 'b', 1)]);
    const behind = [client.lock('a', WAIT), client.lock('b', WAIT)];
    await Promise.all([waiting(client, 'a', 2), waiting(client, 'b', 2)]);
    pipeline.break();
    await pipeline.ended;
    const [a] = client.pipeline().acquireRun(['a', 'b'], 1, { session, ...WAIT });
    const [, b] = connectStub(elsewhere, namespace)
      .pipeline()
      .acquireRun(['a', 'b'], 1, { session, ...WAIT });
    for (const hold of holds) await client.release(hold);
    const mine = [granted(await a!), granted(await b!)];
    for (const grant of mine) await client.release(grant);
    await Promise.all(behind);
  });

  test('can be cancelled one by one, in the same message', async () => {
    const hold = await client.lock('held');
    const results = pipeline.acquireRun(['a', 'held', 'b'], 1, { session, ...WAIT });
    await Promise.all([pipeline.cancel('2', session), pipeline.cancel('3', session)]);
    expect(await refusal(results[1]!)).toMatchObject({ code: Status.CANCELLED });
    await results[0];
    await client.release(hold);
    await Promise.all([free(client, 'held'), free(client, 'b')]);
    expect((await client.sessions.getSession({ sessionId: session.id })).session?.lockCount).toBe(1);
  });
});

describe('a run of releases', () => {
  test('hands over, and refuses only what is not held', async () => {
    await Promise.all(pipeline.acquireRun(['a', 'b'], 1, { session }));
    const next = client.lock('b', WAIT);
    await waiting(client, 'b', 1);
    await client.forceRelease('a');
    const results = pipeline.releaseRun(session, 1, [0, 1, 7]);
    expect(await settled(results)).toEqual(['rejected', 'fulfilled', 'fulfilled']); // of the last nothing is known: it was released
    expect(await refusal(results[0]!)).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD' });
    await next;
    expect(await settled(pipeline.releaseRun(session, 1, [1, 1]))).toEqual(['fulfilled', 'fulfilled']); // twice is fine
  });

  test('under what is no session is refused', async () => {
    for (const result of pipeline.releaseRun({ id: 'not an id' }, 1, [0, 1]))
      expect(await refusal(result)).toMatchObject(invalid('lock_id'));
    for (const result of pipeline.releaseRun({ id: 'nobody' }, 1, [0, 1])) expect((await refusal(result)).reason).toBe('LOCK_NOT_HELD');
  });
});

describe('limits', () => {
  test('STREAM_LIMIT: too many commands in flight refuse only what is too much', async () => {
    const small = await startServer({ env: { STAFETT_MAX_COMMANDS_PER_STREAM: '4' } });
    const stub = connectStub(small, namespace);
    const mine = await stub.openSession();
    const results = stub.pipeline().acquireRun(names(6), 1, { session: mine });
    expect(await settled(results)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
    expect((await refusal(results[5]!)).reason).toBe('STREAM_LIMIT');
  });

  test('SERVER_FULL: the same, and there is room again when they have their answers', async () => {
    const small = await startServer({ env: { STAFETT_MAX_PENDING_ACQUIRES: '4' } });
    const stub = connectStub(small, namespace);
    const mine = await stub.openSession();
    for (let first = 1; first < 100; first += 10) {
      const results = stub.pipeline().acquireRun(names(6, `of-${first}`), first, { session: mine });
      expect(await settled(results)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
      expect((await refusal(results[5]!)).reason).toBe('SERVER_FULL');
      const fits = stub.pipeline().acquireRun(names(4, `then-${first}`), 1_000 + first, { session: mine });
      expect(await settled(fits)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled']);
    }
  });

  test('TOO_MANY_LOCKS refuses those that come too late', async () => {
    const small = await startServer({ env: { STAFETT_MAX_LOCKS_PER_SESSION: '3' } });
    const stub = connectStub(small, namespace);
    const results = stub.pipeline().acquireRun(names(5), 1, { session: await stub.openSession() });
    expect(await settled(results)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
    expect((await refusal(results[3]!)).reason).toBe('TOO_MANY_LOCKS');
  });
});
