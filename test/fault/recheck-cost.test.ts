import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { beforeEach, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { startStack, type TestStack } from '../support/stack.js';
import type { StubClient } from '../support/stub-client.js';
import { connectStub, freshNamespace, waiting } from '../support/stub-stack.js';

// Issue 3.9: what is looked for again and again, since messages may be lost, costs Redis little, however many wait.

const WAITERS = 1_000;
const MEASURE_MS = 5_000;
/** Commands of a server with one namespace, those in functions included: some eight in the one call each second of who waits. */
const PER_SECOND_MAX = 20;

let stack: TestStack;
let redis: Redis;
let client: StubClient;

beforeEach(async () => {
  stack = await startStack();
  redis = stack.redis.client();
  client = connectStub(stack.server, freshNamespace());
});

/** How often each command was called, those in functions included. */
async function calls(): Promise<Map<string, number>> {
  const stats = await redis.info('commandstats');
  return new Map([...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, count]) => [name as string, Number(count)]));
}

/** What Redis is asked, per second. */
async function perSecond(what: string): Promise<number> {
  const before = await calls();
  await sleep(MEASURE_MS);
  const rates = [...(await calls())].map(([name, count]) => [name, ((count - (before.get(name) ?? 0)) * 1_000) / MEASURE_MS] as const);
  const shown = rates.filter(([, rate]) => rate > 0).map(([name, rate]) => `${name} ${rate.toFixed(1)}`);
  console.log(`cost: ${what}: per second ${shown.join(', ')}`);
  return rates.reduce((sum, [, rate]) => sum + rate, 0);
}

/** Holds one name, with so many who wait for it. */
async function queueUp(): Promise<void> {
  const session = await client.openSilentSession({ ttlMs: 30_000 });
  const pipeline = client.pipeline();
  await pipeline.lock('a', { session });
  for (let i = 0; i < WAITERS; i++) pipeline.acquire('a', { session, waitMs: 60_000 }).catch(() => {}); // ended with the test
  await waiting(client, 'a', WAITERS);
}

test('a server that nobody asks anything', async () => {
  await client.getLock('a');
  expect(await perSecond('an idle server')).toBeLessThan(PER_SECOND_MAX);
});

test(`a server with ${WAITERS} waiters`, async () => {
  await queueUp();
  expect(await perSecond(`${WAITERS} waiters`)).toBeLessThan(PER_SECOND_MAX);
});

test('the same, whose subscription is dead', async () => {
  await queueUp();
  await redis.call('ACL', 'SETUSER', 'default', '-subscribe');
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually('the subscription to be lost', () => stack.server.logs().some(({ msg }) => /subscri/i.test(msg)));
  expect(await perSecond(`${WAITERS} waiters, no subscription`)).toBeLessThan(PER_SECOND_MAX);
});
