import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { SlowPolicy } from '../../../server/src/gen/stafett/v1/event.js';
import { connectClient } from '../../support/client.js';
import { follow, numbers } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { metric, SlowReader } from '../../support/slow-reader.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

const QUEUE_BYTES_MAX = 65_536;
/** 8 MB in all: more than all buffers on the way to a reader can hold. */
const COUNT = 2_000;
const TEXT = 'x'.repeat(4_000);

let server: TestServer;
let namespace: string;
let publisher: Stafett;

beforeAll(async () => {
  ({ server } = await startStack({ env: { STAFETT_EVENT_HISTORY: 'kept=3000/1h' } }));
});

beforeEach(async () => {
  namespace = freshNamespace();
  publisher = await connectClient(server, { namespace });
});

async function publish(channel: string, keys = 0, count = COUNT): Promise<void> {
  const publication = (n: number) => ({ channel, data: { n, text: TEXT }, ...(keys > 0 && { key: `key-${n % keys}` }) });
  await publisher.events.publishBatch(numbers(1, count).map(publication));
}

async function subscribe(policy: SlowPolicy, channel = 'fast', count = 1): Promise<SlowReader[]> {
  await eventually('the end of those before', async () => (await metric(server, 'stafett_subscriptions')) === 0);
  const readers = numbers(1, count).map(() => new SlowReader(server.grpcPort, namespace, channel, policy, QUEUE_BYTES_MAX));
  await eventually('the subscriptions', async () => (await metric(server, 'stafett_subscriptions')) === count);
  return readers;
}

function isGrowing(values: number[]): boolean {
  return values.every((value, i) => i === 0 || value > (values[i - 1] as number));
}

describe('a subscriber that does not read', () => {
  test('is sent away by default, and told why', async () => {
    const [reader] = await subscribe(SlowPolicy.UNSPECIFIED);
    await publish('fast');
    reader?.read();
    await eventually('the end', () => reader?.error !== undefined);
    expect(reader?.error?.details).toMatch(/more than 65536 bytes wait for a subscriber that reads too slowly/);
    expect(await metric(server, 'stafett_slow_subscribers_total')).toBeGreaterThanOrEqual(1);
    expect(isGrowing(reader?.data ?? [])).toBe(true);
  });

  test('with DROP_OLDEST has the latest in the end, and is told how many it has not', async () => {
    const droppedBefore = await metric(server, 'stafett_publications_dropped_total');
    const [reader] = await subscribe(SlowPolicy.DROP_OLDEST);
    await publish('fast');
    reader?.read();
    await eventually('the last one', () => reader?.data.at(-1) === COUNT);
    expect(reader?.dropped).toBeGreaterThan(COUNT / 2);
    expect((reader?.dropped ?? 0) + (reader?.data.length ?? 0)).toBe(COUNT);
    expect(isGrowing(reader?.data ?? [])).toBe(true);
    expect((await metric(server, 'stafett_publications_dropped_total')) - droppedBefore).toBe(reader?.dropped);
  });

  test('with CONFLATE has the latest of each key in the end, and is told how many were replaced', async () => {
    const [reader] = await subscribe(SlowPolicy.CONFLATE);
    await publish('fast', 5);
    reader?.read();
    await eventually('the last one', () => reader?.data.at(-1) === COUNT);
    expect(reader?.data.slice(-5)).toEqual(numbers(COUNT - 4, COUNT));
    expect((reader?.dropped ?? 0) + (reader?.data.length ?? 0)).toBe(COUNT);
    expect(isGrowing(reader?.data ?? [])).toBe(true);
  });

  test.each([SlowPolicy.DROP_OLDEST, SlowPolicy.CONFLATE])('costs its bytes and no more (policy %i)', async (policy) => {
    const count = 20;
    await publish('fast', 1_000, 500); // what the server needs for this at all
    await subscribe(policy, 'fast', count);
    const before = await metric(server, 'process_resident_memory_bytes');
    const dropped = await metric(server, 'stafett_publications_dropped_total');
    await publish('fast', 1_000, 1_500);
    expect(await metric(server, 'stafett_publications_dropped_total')).toBeGreaterThan(dropped);
    expect(await metric(server, 'stafett_subscriber_queue_bytes')).toBeLessThanOrEqual(count * QUEUE_BYTES_MAX);
    // 6 MB for each of the 20 would be 120 MB. What gRPC holds besides are 4 messages of 16 kB for each stream, and its windows.
    const grown = (await metric(server, 'process_resident_memory_bytes')) - before;
    expect(grown).toBeLessThan(100e6);
  });

  test('is noticed by what the transport does not take, however few are published at a time', async () => {
    await subscribe(SlowPolicy.DROP_OLDEST);
    const dropped = await metric(server, 'stafett_publications_dropped_total');
    for (let i = 0; i < 60; i++) await publish('fast', 0, 5); // of 8 kB in the queue, and answered before the next
    expect((await metric(server, 'stafett_publications_dropped_total')) - dropped).toBeGreaterThan(200);
    expect(await metric(server, 'stafett_subscriber_queue_bytes')).toBeLessThanOrEqual(QUEUE_BYTES_MAX);
  });

  test('does not slow down one that reads', async () => {
    await subscribe(SlowPolicy.DROP_OLDEST, 'kept');
    const reader = await follow(publisher, 'kept');
    const sent = await metric(server, 'grpc_server_msg_sent_total');
    await publish('kept');
    expect(await reader.has(COUNT)).toHaveLength(COUNT);
    // 3 events of 4 kB fit into a message.
    expect((await metric(server, 'grpc_server_msg_sent_total')) - sent).toBeGreaterThanOrEqual(COUNT / 4);
  });
});

describe('a program that reads slowly', () => {
  test('goes on by itself where it was sent away, and misses nothing of what is kept', async () => {
    const sentAway = await metric(server, 'stafett_slow_subscribers_total');
    const seen: number[] = [];
    const subscription = publisher.events.subscribe('kept', { queueBytesMax: QUEUE_BYTES_MAX });
    let published: Promise<void> | undefined;
    for await (const event of subscription) {
      if (event.type === 'subscribed') expect(event.recovered).toBe(published !== undefined);
      if (event.type === 'subscribed') published ??= publish('kept');
      if (event.type === 'publication') seen.push((event.data as { n: number }).n);
      if (seen.length === 1) await published; // so long it does not read
      if (seen.length === COUNT) break;
    }
    expect(seen).toEqual(numbers(1, COUNT));
    expect(await metric(server, 'stafett_slow_subscribers_total')).toBeGreaterThan(sentAway);
  });

  test('is told how many were dropped', async () => {
    let published: Promise<void> | undefined;
    let [seen, dropped] = [0, 0];
    for await (const event of publisher.events.subscribe('fast', { queueBytesMax: QUEUE_BYTES_MAX, onSlow: 'drop-oldest' })) {
      if (event.type === 'subscribed') published ??= publish('fast');
      if (event.type === 'publication') seen++;
      if (event.type === 'dropped') dropped += event.count;
      if (seen === 1) await published;
      if (event.type === 'publication' && (event.data as { n: number }).n === COUNT) break;
    }
    expect(dropped).toBeGreaterThan(0);
    expect(seen + dropped).toBe(COUNT);
  });
});
