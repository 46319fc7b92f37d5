import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import type { TestRedis } from '../../support/redis.js';
import { startServer, startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §4.1.5: fencing tokens grow for every later grant, whatever happens in between.

/** µs: tokens an hour ahead of the clock can only be outdone by those who remember them. */
const HOUR_US = 3_600_000_000;

const TTL_MS = 1_000;
const WAIT = { waitMs: 20_000, ttlMs: TTL_MS };

let stack: TestStack;
let redis: TestRedis;
let server: TestServer;
let namespace: string;
let client: StubClient;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: `${TTL_MS}ms` } }); // grace periods are as long as that
  ({ redis, server } = stack);
});

beforeEach(() => {
  namespace = freshNamespace();
  client = connectStub(server, namespace);
});

/** As if the namespace had given out tokens faster than time goes by, or Redis' clock had been set back since. */
async function runAhead(): Promise<void> {
  await tokenOf(client, 'name');
  const gate = `stafett:{${namespace}}:gate`;
  const counts = (await redis.client().hgetBuffer(gate, 's')) as Buffer;
  counts.writeDoubleLE(Date.now() * 1000 + HOUR_US); // the first of what is counted, see engine/scripts/state.lua
  await redis.client().hset(gate, 's', counts);
}

async function tokenOf(at: StubClient, name: string): Promise<bigint> {
  const grant = await eventually('the server to grant', () => at.lock(name, WAIT));
  await at.release(grant);
  return grant.fencingToken;
}

test('tokens grow from grant to grant, of all names, sessions and servers of a namespace', async () => {
  const away = connectStub(await stack.addServer(), namespace);
  const session = await client.openSession();
  const tokens: bigint[] = [];
  for (let i = 0; i < 50; i++) {
    const at = i % 2 ? away : client;
    const grant = await at.lock(`name-${i % 7}`, i % 3 ? { session } : { ttlMs: TTL_MS });
    tokens.push(grant.fencingToken);
    await at.release(grant);
  }
  expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => (a < b ? -1 : 1)));
});

test('a token is above all that were granted in the same message', async () => {
  const pipeline = client.pipeline();
  const grants = await Promise.all(Array.from({ length: 500 }, (_, i) => pipeline.lock(`name-${i}`, { ttlMs: TTL_MS })));
  for (const [i, { fencingToken }] of grants.entries()) expect(fencingToken).toBeGreaterThan(grants[i - 1]?.fencingToken ?? 0n);
});

describe('tokens grow across', () => {
  test('expiry', async () => {
    const lost = await client.lock('name', { ttlMs: TTL_MS });
    const next = await client.lock('name', WAIT);
    expect(next.fencingToken).toBeGreaterThan(lost.fencingToken);
  });

  test('a forced release', async () => {
    const lost = await client.lock('name', { ttlMs: TTL_MS });
    const next = client.lock('name', WAIT);
    await waiting(client, 'name', 1);
    await client.forceRelease('name');
    expect((await next).fencingToken).toBeGreaterThan(lost.fencingToken);
  });

  test('a restart of the server', async () => {
    await runAhead();
    const first = await startServer({ redis });
    const before = await tokenOf(connectStub(first, namespace), 'name');
    await first.kill();
    const second = await startServer({ redis });
    expect(await tokenOf(connectStub(second, namespace), 'name')).toBeGreaterThan(before);
  });

  test('FLUSHALL: the server remembers the highest that it has seen', async () => {
    await runAhead();
    const before = await tokenOf(client, 'name');
    await redis.client().flushall();
    expect(await tokenOf(client, 'name')).toBeGreaterThan(before);
    expect(await tokenOf(client, 'another')).toBeGreaterThan(before);
  });

  test('FLUSHALL, under a session: it does not come again, and another one’s tokens go on above', async () => {
    await runAhead();
    const session = await client.openSession();
    const before = await client.lock('name', { session });
    await redis.client().flushall();
    expect(await refusal(client.acquire('other', { ...WAIT, session }))).toMatchObject({ reason: 'SESSION_NOT_FOUND' });
    const after = await client.lock('name', { ...WAIT, session: await client.openSession() });
    expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
  });

  test('a restart of Redis, which forgets everything', async () => {
    await runAhead();
    const before = await tokenOf(client, 'name');
    await redis.kill();
    await redis.start();
    expect(await tokenOf(client, 'name')).toBeGreaterThan(before);
  });

  test('a restart of everything', async () => {
    const everything = await startStack({ env: { STAFETT_MAX_TTL: `${TTL_MS}ms` } }); // not ahead of the clock, which is all that is left
    const before = await tokenOf(connectStub(everything.server, namespace), 'name');
    await everything.server.kill();
    await everything.redis.kill();
    await everything.redis.start();
    const again = await startServer({ redis: everything.redis });
    expect(await tokenOf(connectStub(again, namespace), 'name')).toBeGreaterThan(before);
  });
});
