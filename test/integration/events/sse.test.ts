import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { onCleanup } from '../../support/cleanup.js';
import { connectClient } from '../../support/client.js';
import { numbers, publishNumbers } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { metric } from '../../support/slow-reader.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// Server-Sent Events as they are on the wire. What a browser makes of them is in test/browser.

const ORIGIN = 'https://app.example.org';

let stack: TestStack;
let servers: [TestServer, TestServer];
let namespace: string;
let publisher: Stafett;

beforeAll(async () => {
  const env = {
    STAFETT_EVENT_HISTORY: '*=1000/1h',
    STAFETT_HTTP_CORS_ORIGINS: ORIGIN,
    STAFETT_SSE_HEARTBEAT: '1s',
    STAFETT_MAX_SUBSCRIBER_BYTES: '65536',
  };
  stack = await startStack({ env });
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  namespace = freshNamespace();
  publisher = await connectClient(servers[0], { namespace });
});

interface Stream {
  readonly response: IncomingMessage;
  text(): string;
  /** Of its publications. */
  data(): unknown[];
  lastId(): string;
  close(): void;
  readonly ended: Promise<void>;
}

function url(server: TestServer, query: string): string {
  return `http://${server.httpAddress}/v1/events?namespace=${namespace}&${query}`;
}

async function open(server: TestServer, query: string, headers: Record<string, string> = {}): Promise<Stream> {
  const request: ClientRequest = get(url(server, query), { headers, agent: false });
  const response = await new Promise<IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject));
  onCleanup(() => request.destroy());
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const ended = new Promise<void>((resolve) => response.once('close', resolve).on('error', () => {}));
  const messages = () =>
    text
      .split('\n\n')
      .slice(0, -1)
      .filter((block) => /^data: /m.test(block) && !block.startsWith('event: '));
  return {
    response,
    ended,
    text: () => text,
    data: () => messages().map((block) => (JSON.parse(/^data: ([^\n]*)$/m.exec(block)?.[1] ?? '') as { data: unknown }).data),
    lastId: () => [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '',
    close: () => request.destroy(),
  };
}

async function has(stream: Stream, count: number): Promise<unknown[]> {
  await eventually(`${count} events`, () => stream.data().length >= count);
  return stream.data();
}

describe('a stream', () => {
  test('tells where it begins, and then each event in one line of JSON', async () => {
    const stream = await open(servers[1], 'channel=case/42');
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
    });
    await eventually('its beginning', () => stream.text().includes('\nevent: subscribed\n'));
    await publisher.events.publish('case/42', { text: 'a\nb\u2028', list: [1] }, { key: 'k' });
    await has(stream, 1);
    const [, id, line] = /\n\nid: ([^\n]*)\ndata: ([^\n]*)\n\n$/.exec(stream.text()) ?? [];
    expect(id).toMatch(/^[\w-]+:[0-9a-z]+$/);
    expect(JSON.parse(line ?? '')).toEqual({
      channel: 'case/42',
      subscription: 'case/42',
      key: 'k',
      publishTime: expect.stringMatching(/^20.*Z$/),
      data: { text: 'a\nb\u2028', list: [1] },
    });
  });

  test('goes on behind its last id, over several channels, at another server', async () => {
    const channels = 'channel=case/42&channel=user/*&channel=quiet';
    const first = await open(servers[0], channels);
    await publishNumbers(publisher, 'case/42', 1, 3);
    await publishNumbers(publisher, 'user/7', 4, 5);
    expect(await has(first, 5)).toEqual([1, 2, 3, 4, 5]);
    first.close();
    await publishNumbers(publisher, 'user/7', 6, 7);
    await publishNumbers(publisher, 'case/42', 8, 9);
    const second = await open(servers[1], channels, { 'last-event-id': first.lastId() });
    expect((await has(second, 4)).sort()).toEqual([6, 7, 8, 9]);
    expect(second.text().match(/"recovered":true/g)).toHaveLength(3);
    expect(second.text()).not.toContain('"recovered":false');
    const third = await open(servers[1], `${channels}&lastEventId=${encodeURIComponent(first.lastId())}`);
    expect((await has(third, 4)).sort()).toEqual([6, 7, 8, 9]);
  });

  test('has a heartbeat', async () => {
    const stream = await open(servers[0], 'channel=case/42');
    await eventually('two heartbeats', () => stream.text().split('\n:\n').length >= 3, { timeoutMs: 10_000 });
  });

  test('ends when its server stops, and is told to come again by one that is stopping', async () => {
    const server = await stack.addServer();
    const stream = await open(server, 'channel=case/42');
    await eventually('its beginning', () => stream.text().includes('subscribed'));
    const stopped = server.stop();
    await stream.ended;
    expect(stream.text()).toContain('retry: 1000\n');
    expect(await stopped).toEqual({ code: 0, signal: null });
  });

  test('of a reader that does not read is ended, and costs no more than its bytes', async () => {
    const sentAway = await metric(servers[0], 'stafett_slow_subscribers_total');
    const request = get(url(servers[0], 'channel=case/42'), { agent: false });
    onCleanup(() => request.destroy());
    const response = await new Promise<IncomingMessage>((resolve) => request.once('response', resolve));
    response.pause().on('error', () => {});
    let queued = 0;
    await eventually(
      'the end of it',
      async () => {
        await publisher.events.publishBatch(numbers(1, 30).map(() => ({ channel: 'case/42', data: 'x'.repeat(30_000) })));
        queued = Math.max(queued, await metric(servers[0], 'stafett_subscriber_queue_bytes'));
        return (await metric(servers[0], 'stafett_slow_subscribers_total')) > sentAway;
      },
      { timeoutMs: 25_000 },
    );
    expect(queued).toBeLessThanOrEqual(65_536);
  });
});

describe('CORS', () => {
  test.each([
    [ORIGIN, ORIGIN],
    ['https://evil.example.org', null],
  ])('for %s', async (origin, allowed) => {
    const stream = await open(servers[0], 'channel=a', { origin });
    expect(stream.response.headers['access-control-allow-origin'] ?? null).toBe(allowed);
    const refused = await fetch(url(servers[0], ''), { headers: { origin } });
    expect(refused.headers.get('access-control-allow-origin')).toBe(allowed);
    const preflight = await fetch(url(servers[0], 'channel=a'), { method: 'OPTIONS', headers: { origin } });
    expect([preflight.status, preflight.headers.get('access-control-allow-headers') !== null]).toEqual([204, allowed !== null]);
  });
});

describe('a bad request', () => {
  test.each([
    ['', 'channel'],
    ['channel=', 'channel[0].channel'],
    ['channel=a*', 'channel[0].channel'],
    ['channel=%24cache', 'channel[0].channel'],
    ['channel=a&channel=a', 'channel'],
    [
      numbers(1, 65)
        .map((i) => `channel=${i}`)
        .join('&'),
      'channel',
    ],
    ['channel=a&slow=never', 'slow'],
    ['channel=a&chanel=b', 'chanel'],
    ['channel=a&lastEventId=x', 'Last-Event-ID'],
    ['channel=a&lastEventId=x:1,2', 'Last-Event-ID'],
    ['channel=a&lastEventId=x:zzzzzzzzzzz', 'Last-Event-ID'],
    ['channel=a&lastEventId=x%20y:1', 'Last-Event-ID.epoch'],
  ])('%s is refused, and names %s', async (query, field) => {
    const response = await fetch(url(servers[0], query));
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field }, error: expect.stringContaining(field) });
  });

  test('with a namespace that is none, or a position from the future, is refused', async () => {
    const response = await fetch(`http://${servers[0].httpAddress}/v1/events?channel=a&namespace=a/b`);
    expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([400, 'INVALID_NAMESPACE']);
    const { position } = await publisher.events.publish('a', 1);
    const id = `${position?.epoch}:${(position!.offset + 1e12).toString(36)}`;
    const future = await fetch(url(servers[0], `channel=a&lastEventId=${id}`));
    expect([future.status, ((await future.json()) as { reason: string }).reason]).toEqual([400, 'POSITION_OUT_OF_RANGE']);
  });
});
