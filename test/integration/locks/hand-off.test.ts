import type { Redis } from 'ioredis';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { startStack, type TestStack } from '../../support/stack.js';
import { quiet } from '../../support/stub-acquire.js';
import type { StubClient } from '../../support/stub-client.js';
import type { StubPipeline } from '../../support/stub-pipeline.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.1.4: hand-off in O(1), to the next in line and nobody else.

const ROUNDS = 12;

let stack: TestStack;
let other: TestStack['server'];
let redis: Redis;
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  stack = await startStack();
  other = await stack.addServer();
  redis = stack.redis.client();
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectStub(stack.server, namespace);
});

/** Calls of each Redis command so far, those of the function included. */
async function commandCalls(): Promise<Map<string, number>> {
  const info = await redis.info('commandstats');
  return new Map([...info.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, calls]) => [name as string, Number(calls)]));
}

/** What Redis did meanwhile. The test's own questions and the signs of life of connections are left out. */
async function commandsOf(action: () => Promise<void>): Promise<Record<string, number>> {
  await redis.call('CONFIG', 'RESETSTAT');
  await action();
  const calls = await commandCalls();
  for (const name of ['info', 'ping', 'config|resetstat']) calls.delete(name);
  return Object.fromEntries([...calls].sort());
}

/** The cheapest of some hand-offs, one by one: now and then a server also looks for what it might have missed. */
async function cheapestHandOff(pipelines: StubPipeline[], waiters: number): Promise<Record<string, number>> {
  let hold = await client.lock('baton');
  const queue = Array.from({ length: waiters }, (_, i) => ({
    pipeline: pipelines[i % pipelines.length] as StubPipeline,
    grant: undefined as Promise<Grant> | undefined,
  }));
  for (const [i, waiter] of queue.entries()) {
    waiter.grant = waiter.pipeline.lock('baton', { waitMs: 60_000, ttlMs: 30_000 });
    if (pipelines.length > 1) await waiting(client, 'baton', i + 1); // so that they alternate
  }
  await waiting(client, 'baton', waiters);
  let cheapest: Record<string, number> | undefined;
  for (const { grant } of queue.slice(0, ROUNDS)) {
    const commands = await commandsOf(async () => {
      await client.release(hold);
      hold = (await grant) as Grant;
    });
    if (!cheapest || total(commands) < total(cheapest)) cheapest = commands;
  }
  return cheapest as Record<string, number>;
}

function total(commands: Record<string, number>): number {
  return Object.values(commands).reduce((sum, calls) => sum + calls, 0);
}

describe('a hand-off', () => {
  test('is one call of the engine, and Redis does the same for it whether 20 wait or 500', async () => {
    const few = await cheapestHandOff([client.pipeline()], 20);
    namespace = freshNamespace();
    client = connectStub(stack.server, namespace);
    const many = await cheapestHandOff([client.pipeline()], 500);
    expect(few.fcall).toBe(1);
    expect(many).toEqual(few);
  });

  test('to a waiter of another server is one call of the engine, too, and one message to that server alone', async () => {
    const away = connectStub(other, namespace);
    const commands = await cheapestHandOff([away.pipeline()], 20);
    expect(commands).toMatchObject({ fcall: 1, publish: 1 });
  });

  test('wakes nobody but the next: of 100 waiters one is granted, and the others neither ask nor move', async () => {
    const hold = await client.lock('baton');
    const pipeline = client.pipeline();
    const granted: Grant[] = [];
    const waiters = Array.from({ length: 100 }, () => pipeline.lock('baton', { waitMs: 60_000 }));
    for (const waiter of waiters) void quiet(waiter.then((grant) => granted.push(grant)));
    const before = await waiting(client, 'baton', 100);
    await client.release(hold);
    await waiters[0];
    const after = await client.getLock('baton');
    expect(granted).toEqual([await waiters[0]]);
    expect(after.waiterCount).toBe(99);
    expect(after.waiters.slice(0, 9)).toEqual(before.waiters.slice(1));
  });

  test('happens in the step of the release: nobody who comes between can have it', async () => {
    const hold = await client.lock('baton');
    const next = connectStub(other, namespace).lock('baton', { waitMs: 20_000 });
    await waiting(client, 'baton', 1);
    const pipeline = client.pipeline();
    const [, attempt] = await Promise.all([pipeline.release(hold), pipeline.acquire('baton')]);
    const grant = await next;
    expect(attempt.contention?.blockers).toMatchObject([{ holder: { fencingToken: grant.fencingToken } }]);
  });

  test('reaches a waiter of another server without delay', async () => {
    const away = connectStub(other, namespace).pipeline();
    const took: number[] = [];
    for (let i = 0; i < 9; i++) {
      const hold = await client.lock('baton');
      const next = away.lock('baton', { waitMs: 20_000 });
      await waiting(client, 'baton', 1);
      const started = performance.now();
      await client.release(hold);
      const grant = await next;
      took.push(performance.now() - started);
      await away.release(grant);
    }
    // Not at the next poll, of whatever: the slow re-check comes only each second.
    expect(took.sort((a, b) => a - b)[4]).toBeLessThan(200);
  });
});
