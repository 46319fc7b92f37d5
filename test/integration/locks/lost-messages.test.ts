import type { Redis } from 'ioredis';
import { Packr } from 'msgpackr';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import { connectStub, freshNamespace, waiting } from '../../support/stub-stack.js';

// §3: pub/sub is only a hint. Whatever it lost is found again on reconnect and by a slow re-check, each second.

const FOUND_MS = 1_500;
const WAIT = { waitMs: 60_000 };

let redis: Redis;
let servers: [TestServer, TestServer];
let namespace: string;
/** Releases, and so publishes. */
let here: StubClient;
/** Waits on the other server. */
let away: StubClient;

beforeAll(async () => {
  const stack = await startStack();
  redis = stack.redis.client();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(() => {
  namespace = freshNamespace();
  [here, away] = servers.map((server) => connectStub(server, namespace)) as [StubClient, StubClient];
});

async function killSubscriptions(): Promise<void> {
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
}

/** No server has a subscription, nor gets one, until the test is over. */
async function refuseSubscriptions(): Promise<void> {
  await redis.call('ACL', 'SETUSER', 'default', '-subscribe');
  onCleanup(async () => {
    await redis.call('ACL', 'SETUSER', 'default', '+subscribe');
    for (const { httpAddress } of servers) {
      await eventually('the server to be ready', async () => (await fetch(`http://${httpAddress}/readyz`)).ok);
    }
  });
  await killSubscriptions();
}

async function subscribers(): Promise<number> {
  return ((await redis.call('PUBSUB', 'CHANNELS', 'stafett:server:*')) as unknown[]).length;
}

/** How long a hand-off to the other server took. */
async function handOff(name: string, fault: () => Promise<void>): Promise<number> {
  const hold = await here.lock(name);
  const next = away.lock(name, WAIT);
  await waiting(here, name, 1);
  const started = performance.now();
  await Promise.all([fault(), here.release(hold)]);
  await away.release(await next);
  return performance.now() - started;
}

describe('a grant', () => {
  test('arrives though the subscription broke at that moment', async () => {
    for (let i = 0; i < 10; i++) expect(await handOff(`name-${i}`, killSubscriptions)).toBeLessThan(FOUND_MS);
    await eventually('the subscriptions to be back', async () => (await subscribers()) === 2);
  });

  test('arrives within the slow re-check though nobody is subscribed at all', async () => {
    await refuseSubscriptions();
    for (let i = 0; i < 3; i++) expect(await handOff(`name-${i}`, async () => {})).toBeLessThan(FOUND_MS);
    expect(await subscribers()).toBe(0);
  });

  test('arrives though thousands of other lost messages are before it', async () => {
    const channels = (await redis.call('PUBSUB', 'CHANNELS', 'stafett:server:*')) as string[];
    await refuseSubscriptions();
    const prefix = `stafett:{${namespace}}:`;
    const backlog = Array.from({ length: 3_500 }, () => new Packr().pack([prefix, [['dropped', 'nobody.nothing', 1]]]));
    const fill = async () => {
      for (const channel of channels) await redis.rpush(`${prefix}outbox:${channel.slice('stafett:server:'.length)}`, ...backlog);
    };
    const hold = await here.lock('name');
    const next = away.lock('name', WAIT);
    await waiting(here, 'name', 1);
    await fill();
    const started = performance.now();
    await here.release(hold);
    await next;
    expect(performance.now() - started).toBeLessThan(FOUND_MS);
  });
});

describe('WaitForUnlock', () => {
  async function unlock(times: number, fault: (i: number) => Promise<void>): Promise<void> {
    for (let i = 0; i < times; i++) {
      const hold = await here.lock('name');
      await Promise.all([fault(i), here.release(hold)]);
    }
  }

  test('misses nothing though the subscription breaks again and again', async () => {
    const watch = away.watch('name');
    await watch.ready;
    await unlock(60, async (i) => {
      if (i % 5 === 0) await killSubscriptions();
    });
    await eventually('all unlocks to be told', () => watch.unlocks.length === 60);
    expect(watch.unlocks.map(({ unlockCount }) => Number(unlockCount))).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(watch.unlocks.filter(({ missed }) => missed > 0n)).toEqual([]);
  });

  test('misses nothing though nobody is subscribed at all, and is late by the re-check only', async () => {
    const watch = away.watch('name');
    await watch.ready;
    await refuseSubscriptions();
    await unlock(25, async () => {});
    const started = performance.now();
    await eventually('all unlocks to be told', () => watch.unlocks.length === 25);
    expect(performance.now() - started).toBeLessThan(FOUND_MS);
    expect(watch.unlocks.map(({ unlockCount }) => Number(unlockCount))).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    expect(watch.unlocks.every(({ missed, previous }) => missed === 0n && previous !== undefined)).toBe(true);
  });
});

test('a forced release that was not told is told with the next keepalive', async () => {
  const session = await away.openSession({ ttlMs: 3_000 });
  const lost = await away.lock('name', { session });
  await refuseSubscriptions();
  await here.forceRelease('name');
  await eventually('the holder to be told', () => session.revoked().includes(lost.lockId));
});
