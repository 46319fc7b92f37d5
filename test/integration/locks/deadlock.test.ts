import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { quiet } from '../../support/stub-acquire.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.1.3, §4.3: a nested acquire may pass a head that waits for its context; what is left are true cycles, which are refused.

const WAIT = { waitMs: 60_000 };

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

/** A call context: a session with a name and what it holds. */
async function context(at: StubClient, host: string) {
  const session: StubSession = await at.openSession({ client: { name: 'test', version: '1', host } });
  const held: Grant[] = [];
  return {
    session,
    held,
    take(...names: string[]): Promise<Grant> {
      const taken = at.lock(names, { ...WAIT, session, held, purpose: `${host} needs ${names}` });
      void quiet(taken.then((grant) => held.push(grant)));
      return taken;
    },
    async letGo(): Promise<void> {
      for (const grant of held.splice(0).reverse()) await at.release(grant);
    },
  };
}

describe('two contexts that cross', () => {
  test('the newest request is refused, naming the cycle and its holders, and the other goes on', async () => {
    const [one, two] = [await context(client, 'node-1'), await context(away, 'node-2')];
    const [a, b] = [await one.take('a'), await two.take('b')];
    const first = one.take('b');
    await waiting(client, 'b', 1);

    const error = await refusal(two.take('a'));
    expect(error).toMatchObject({ code: Status.ABORTED, reason: 'DEADLOCK', domain: 'stafett' });
    expect(JSON.parse(error.metadata.names ?? '')).toEqual(['a', 'b']);
    expect(JSON.parse(error.metadata.cycle ?? '')).toMatchObject([
      {
        name: 'a',
        host: 'node-1',
        client: 'test/1',
        purpose: 'node-1 needs a',
        sessionId: one.session.id,
        fencingToken: `${a.fencingToken}`,
      },
      { name: 'b', host: 'node-2', sessionId: two.session.id, fencingToken: `${b.fencingToken}` },
    ]);
    expect(error.message).toMatch(/"a" held by test\/1 node-1 .*"b" held by test\/1 node-2/);
    expect((await client.getLock('a')).waiterCount).toBe(0); // the refused one does not wait

    await two.letGo();
    await first;
    await one.letGo();
    await two.take('a', 'b');
  });

  test('in a pipeline it is the same error, and the pipeline goes on', async () => {
    const one = await context(client, 'node-1');
    await one.take('a');
    const session = await away.openSession();
    const pipeline = away.pipeline();
    const b = await pipeline.lock('b', { session });
    void one.take('b');
    await waiting(client, 'b', 1);
    const error = await refusal(pipeline.acquire('a', { ...WAIT, session, held: [b] }));
    expect(error).toMatchObject({ code: Status.ABORTED, reason: 'DEADLOCK', metadata: { names: '["a","b"]' } });
    await pipeline.release(b);
  });

  test('of one session, in two contexts, deadlock all the same', async () => {
    const session = await client.openSession();
    const [a, b] = [await client.lock('a', { session }), await client.lock('b', { session })];
    void client.acquire('b', { ...WAIT, session, held: [a] });
    await waiting(client, 'b', 1);
    expect(await refusal(client.acquire('a', { ...WAIT, session, held: [b] }))).toMatchObject({ reason: 'DEADLOCK' });
  });

  test('without a wait is contention, not a deadlock', async () => {
    const [one, two] = [await context(client, 'node-1'), await context(away, 'node-2')];
    await Promise.all([one.take('a'), two.take('b')]);
    void one.take('b');
    await waiting(client, 'b', 1);
    expect((await away.acquire('a', { session: two.session, held: two.held })).contention).toMatchObject({ blockers: [{ name: 'a' }] });
  });
});

describe('longer cycles', () => {
  test.each([3, 5])('of %i are refused when the last request closes them', async (length) => {
    const ring = await Promise.all(Array.from({ length }, (_, i) => context(i % 2 ? away : client, `node-${i}`)));
    for (const [i, each] of ring.entries()) await each.take(`name-${i}`);
    const waits = ring.slice(1).map((each, i) => each.take(`name-${(i + 2) % length}`));
    for (let i = 2; i <= length; i++) await waiting(client, `name-${i % length}`, 1);
    const error = await refusal((ring[0] as (typeof ring)[0]).take('name-1'));
    expect(error.reason).toBe('DEADLOCK');
    const cycle = JSON.parse(error.metadata.names ?? '') as string[];
    expect(cycle).toEqual([...Array.from({ length: length - 1 }, (_, i) => `name-${i + 1}`), 'name-0']);
    await ring[0]?.letGo();
    for (const [i, each] of ring.slice(1).toReversed().entries()) {
      await waits[length - 2 - i];
      await each.letGo();
    }
  });

  test('through wide requests are found, too', async () => {
    const [one, two] = [await context(client, 'node-1'), await context(away, 'node-2')];
    await Promise.all([one.take('a', 'b', 'c'), two.take('x', 'y', 'z')]);
    void one.take('free', 'y');
    await waiting(client, 'y', 1);
    expect(await refusal(two.take('also-free', 'c'))).toMatchObject({ reason: 'DEADLOCK' });
    expect((await client.getLock('also-free')).holder).toBeUndefined();
  });
});

describe('what is no cycle of holds', () => {
  test('a chain of nested waiters is served from its end', async () => {
    const [one, two, three] = await Promise.all(['1', '2', '3'].map((host) => context(client, host)));
    if (!one || !two || !three) throw new Error();
    await Promise.all([one.take('a'), two.take('b'), three.take('c')]);
    const waits = [one.take('b'), two.take('c')];
    await waiting(client, 'b', 1);
    await waiting(client, 'c', 1);
    await three.letGo();
    await waits[1];
    await two.letGo();
    await waits[0];
  });

  test('a nested acquire passes a head that waits for its context', async () => {
    const inner = await context(client, 'nested');
    await inner.take('a');
    // Waits for a, and has b, which is free, reserved.
    const wide = away.lock(['a', 'b'], WAIT);
    await waiting(client, 'b', 1);
    expect((await away.acquire('b')).contention).toMatchObject({ blockers: [{ name: 'b', waiterCount: 1 }] });

    await inner.take('b'); // would wait for ever under plain FIFO: b for a, and a for this context
    await inner.letGo();
    await wide;
  });

  test('a nested acquire that waits passes a head that comes to wait for its context only then', async () => {
    const [outer, inner] = [await context(client, 'outer'), await context(away, 'nested')];
    await Promise.all([outer.take('x'), inner.take('a')]);
    const wide = away.lock(['b', 'x'], WAIT); // has b reserved, waits for x
    await waiting(client, 'b', 1);
    const nested = inner.take('b'); // behind it: it does not wait for this context yet
    await waiting(client, 'b', 2);
    const crossing = outer.take('a'); // now it does: for x, whose holder waits for a
    await nested;
    await inner.letGo();
    await crossing;
    await outer.letGo();
    await wide;
  });

  test('a plain acquire does not pass, and what somebody holds in another context is no context of this one', async () => {
    const holder = await context(client, 'holder');
    await holder.take('a');
    const wide = away.lock(['a', 'b'], WAIT);
    await waiting(client, 'b', 1);
    expect((await client.acquire('b', { session: holder.session })).contention).toMatchObject({ blockers: [{ name: 'b' }] });
    await holder.letGo();
    await wide;
  });
});

test('held_lock_ids of another session, or of what is not held any more, are refused', async () => {
  const [mine, theirs] = [await context(client, 'mine'), await context(away, 'theirs')];
  const foreign = await theirs.take('a');
  const facts = { code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD', metadata: { lock_id: foreign.lockId } };
  expect(await refusal(client.acquire('b', { session: mine.session, held: [foreign] }))).toMatchObject(facts);
  await theirs.letGo();
  expect(await refusal(away.acquire('b', { session: theirs.session, held: [foreign] }))).toMatchObject(facts);
  expect((await client.getLock('b')).holder).toBeUndefined();
});
