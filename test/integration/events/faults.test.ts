import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { follow, numbers } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

let stack: TestStack;
let namespace: string;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_EVENT_HISTORY: '*=1000/1h', STAFETT_DRAIN_TIMEOUT: '2s' } });
});

beforeEach(() => {
  namespace = freshNamespace();
});

/** Publishes numbers one by one; after a while something happens. */
async function publishThrough(publisher: Stafett, fault: () => Promise<unknown>): Promise<void> {
  for (const i of numbers(1, 60)) {
    if (i === 20) void fault();
    await publisher.events.publish('case/42', i);
  }
}

const FAULTS: [string, (server: TestServer) => Promise<unknown>][] = [
  ['is killed', (server) => server.kill()],
  ['is stopped', (server) => server.stop()],
  ['is frozen', async (server) => server.pause()],
];

describe.each(FAULTS)('when the server %s', (_, fault) => {
  test('a subscriber goes on at another, and has each publication once, in order', async () => {
    const doomed = await stack.addServer();
    const subscriber = await connectClient([doomed, stack.server], { namespace, ttl: '3s' });
    const publisher = await connectClient(stack.server, { namespace });
    const listener = await follow(subscriber, ['case/42', 'user/*']);
    await publishThrough(publisher, () => fault(doomed));
    expect(await listener.has(60, 15_000)).toEqual(numbers(1, 60));
    await eventually('the news', () => listener.subscribed.length === 4);
    expect(listener.subscribed.slice(2).map(({ recovered }) => recovered)).toEqual([true, true]);
  });

  test('a publisher goes on at another, and publishes each event once', async () => {
    const doomed = await stack.addServer();
    const publisher = await connectClient([doomed, stack.server], { namespace, ttl: '3s' });
    const listener = await follow(await connectClient(stack.server, { namespace }), 'case/42');
    await publishThrough(publisher, () => fault(doomed));
    expect(await listener.has(60, 15_000)).toEqual(numbers(1, 60));
  });
});

test('when the connection breaks again and again a subscriber has each publication once, in order', async () => {
  const proxy = await startTcpProxy({ port: stack.server.grpcPort });
  const subscriber = await connectClient(proxy, { namespace });
  const publisher = await connectClient(stack.server, { namespace });
  const listener = await follow(subscriber, ['case/42', 'case/*']);
  for (const i of numbers(1, 100)) {
    if (i % 10 === 0) proxy.cut();
    await publisher.events.publish('case/42', i);
  }
  await listener.has(200, 15_000);
  for (const feed of ['case/42', 'case/*']) {
    const told = listener.events.flatMap((event) => (event.type === 'publication' && event.subscription === feed ? event.data : []));
    expect(told).toEqual(numbers(1, 100));
  }
  expect(listener.subscribed.slice(2).every(({ recovered }) => recovered)).toBe(true);
});

test('when Redis is killed and comes back empty a subscriber is told, and goes on', async () => {
  const own = await startStack({ env: { STAFETT_EVENT_HISTORY: '*=1000/1h' } });
  const client = await connectClient(own.server, { namespace });
  const listener = await follow(client, ['case/42', 'case/*']);
  await client.events.publish('case/42', 1);
  await listener.has(2);
  await own.redis.kill();
  await own.redis.start();
  await client.events.publish('case/42', 2);
  await listener.has(4);
  await eventually('the news', () => listener.subscribed.length === 4);
  expect(listener.subscribed.every(({ recovered }) => !recovered)).toBe(true);
  expect(listener.data()).toEqual([1, 1, 2, 2]);
});
