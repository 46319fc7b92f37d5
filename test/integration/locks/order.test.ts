import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { startStack, type TestServer } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import { toMs } from '../../support/stub-duration.js';
import type { StubPipeline } from '../../support/stub-pipeline.js';
import type { StubSession } from '../../support/stub-session.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.1.1–3: mutual exclusion, all or nothing, FIFO without starvation.

let servers: TestServer[];
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  const stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectAt(0);
});

function connectAt(server: number): StubClient {
  return connectStub(servers[server % servers.length] as TestServer, namespace);
}

/** A session with a pipeline of its own, at one server or the other. */
async function team(i: number): Promise<{ session: StubSession; pipeline: StubPipeline }> {
  const at = connectAt(i);
  return { session: await at.openSession(), pipeline: at.pipeline() };
}

describe('FIFO', () => {
  test('1,000 waiters of several sessions, pipelines and servers are granted one lock in the order in which they queued', async () => {
    const first = await client.lock('baton');
    const teams = await Promise.all(Array.from({ length: 6 }, (_, i) => team(i)));
    const granted: number[] = [];
    const grants: Grant[] = [];
    const done: Promise<void>[] = [];
    for (let queued = 0; queued < 1_000; queued += 50) {
      // Who comes in one message queues in its order; the next message, of another team, only when all of them queue.
      const { session, pipeline } = teams[(queued / 50) % teams.length] as (typeof teams)[number];
      for (let i = queued; i < queued + 50; i++) done.push(pass(pipeline, session, i));
      await waiting(client, 'baton', queued + 50);
    }
    async function pass(pipeline: StubPipeline, session: StubSession, i: number): Promise<void> {
      const grant = await pipeline.lock('baton', { session, waitMs: 60_000 });
      granted.push(i);
      grants.push(grant);
      await pipeline.release(grant);
    }

    await client.release(first);
    await Promise.all(done);

    expect(granted).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
    for (const [i, grant] of grants.entries()) {
      const before = i === 0 ? first : (grants[i - 1] as Grant);
      expect(grant.fencingToken).toBeGreaterThan(before.fencingToken);
      expect(toMs(grant.acquireTime)).toBeGreaterThanOrEqual(toMs(before.acquireTime));
    }
  });

  test('a wide request is served in its turn, and nobody overtakes it by any of its names', async () => {
    const holds = [await client.lock('a'), await client.lock('b')];
    const served: string[] = [];
    const queue = async (names: string[], label: string) => {
      const pipeline = client.pipeline();
      const grant = await pipeline.lock(names, { waitMs: 20_000 });
      served.push(label);
      await pipeline.release(grant);
      pipeline.end();
    };
    const wide = queue(['a', 'b', 'c'], 'wide');
    await waiting(client, 'c', 1);
    const late = [queue(['a'], 'a'), queue(['c'], 'c')];
    await waiting(client, 'a', 2);
    await waiting(client, 'c', 2);

    // a is free and the head of its queue waits for b: the one behind it must not have it, nor c, which was always free.
    await client.release(holds[0] as Grant);
    expect((await client.getLock('a')).holder).toBeUndefined();
    expect((await client.acquire('c')).contention?.blockers).toMatchObject([{ name: 'c', waiterCount: 2 }]);
    expect(served).toEqual([]);

    await client.release(holds[1] as Grant);
    await Promise.all([wide, ...late]);
    expect(served[0]).toBe('wide');
  });

  test('two wide requests that cross do not deadlock', async () => {
    const hold = await client.lock(['x', 'y']);
    const [one, other] = [client.pipeline(), connectAt(1).pipeline()];
    const first = one.lock(['x', 'y'], { waitMs: 20_000 });
    await waiting(client, 'x', 1);
    const second = other.lock(['y', 'x'], { waitMs: 20_000 });
    await waiting(client, 'x', 2);
    await client.release(hold);
    await one.release(await first);
    await other.release(await second);
  });
});

describe('all or nothing', () => {
  test('of several names that are not all free, none is taken', async () => {
    await client.lock('b');
    const { contention } = await client.acquire(['a', 'b', 'c']);
    expect(contention).toMatchObject({ blockers: [{ name: 'b' }], queueLength: 0, timedOut: false });
    expect((await client.getLock('a')).holder).toBeUndefined();
    expect((await client.getLock('c')).holder).toBeUndefined();
    await client.lock(['a', 'c']);
  });

  test('a waiter takes all of its names in one step, under one token, and gives all back in one', async () => {
    const holds = await Promise.all(['a', 'b', 'c'].map((name) => client.lock(name)));
    const waiter = client.lock(['a', 'b', 'c'], { waitMs: 20_000 });
    await waiting(client, 'c', 1);
    for (const hold of holds) {
      expect((await Promise.all(['a', 'b', 'c'].map((name) => client.getLock(name)))).map(({ waiterCount }) => waiterCount)).toEqual([
        1, 1, 1,
      ]);
      await client.release(hold);
    }
    const grant = await waiter;
    expect(grant.names).toEqual(['a', 'b', 'c']);
    const held = await Promise.all(grant.names.map((name) => client.getLock(name)));
    expect(new Set(held.map(({ holder }) => holder?.fencingToken))).toEqual(new Set([grant.fencingToken]));
    await client.release(grant);
    await client.lock(['a', 'b', 'c']);
  });
});
