import { createChannel, createClient, Metadata } from 'nice-grpc';
import { Status } from 'nice-grpc-common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  EventServiceDefinition,
  type PublishRequest,
  type SubscribeRequest,
  type SubscriptionEvent,
} from '../../../server/src/gen/stafett/v1/event.js';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { RawClient } from '../../support/raw-client.js';
import { startServer, type TestServer } from '../../support/stack.js';

let server: TestServer;
let client: RawClient;
/** What a subscriber to everything is told. */
const told: SubscriptionEvent['event'][] = [];

beforeAll(async () => {
  server = await startServer({ env: { STAFETT_MAX_HISTORY_SIZE: '100', STAFETT_MAX_HISTORY_AGE: '1m', STAFETT_MAX_SUBSCRIPTIONS: '3' } });
  client = new RawClient(server.grpcPort);
  onCleanup(() => client.close());
  listen().catch(() => {}); // by the end of the server
  await eventually('the subscription', () => told.length === 1);
});

/** Nothing was published, nobody was shown, nothing broke. */
afterAll(async () => {
  const channel = createChannel(server.address);
  onCleanup(() => channel.close());
  await createClient(EventServiceDefinition, channel).publish({ ...good, data: '"the first"' });
  await eventually('the publication', () => told.length > 1);
  expect(told.slice(1)).toMatchObject([{ $case: 'publication', value: { channel: 'a', data: '"the first"' } }]);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.logs().filter(({ level }) => (level as number) >= 50)).toEqual([]);
});

async function listen(): Promise<void> {
  const channel = createChannel(server.address);
  onCleanup(() => channel.close());
  const stream = createClient(EventServiceDefinition, channel).subscribe({ channels: [{ channel: '*' }] });
  for await (const { events } of stream) told.push(...events.map(({ event }) => event));
}

type Method = keyof typeof EventServiceDefinition.methods;

async function refused(method: Method, request: unknown) {
  const { name, requestType, responseStream } = EventServiceDefinition.methods[method];
  const bytes = requestType.encode(requestType.fromPartial(request as never) as never).finish();
  const path = `/stafett.v1.EventService/${name}`;
  const answer = await (responseStream ? client.serverStream(path, bytes, () => {}) : client.unary(path, bytes));
  return [Status[answer.code], answer.info?.reason, answer.info?.metadata];
}

const good: PublishRequest = { channel: 'a', data: '1', key: '', idempotencyKey: '', history: undefined };
const duration = (seconds: number) => ({ seconds: BigInt(seconds), nanos: 0 });

const PUBLICATIONS: [string, Partial<PublishRequest>, string][] = [
  ['no channel', { channel: '' }, 'channel'],
  ['a long channel', { channel: 'ä'.repeat(129) }, 'channel'],
  ['a channel with U+0000', { channel: 'a\0b' }, 'channel'],
  ['a prefix', { channel: 'a/*' }, 'channel'],
  ['a channel of the server’s own', { channel: '$cache/a' }, 'channel'],
  ['no data', { data: '' }, 'data'],
  ['data that is no JSON', { data: '{a:1}' }, 'data'],
  ['much data', { data: JSON.stringify('x'.repeat(65_536)) }, 'data'],
  ['a long key', { key: 'x'.repeat(257) }, 'key'],
  ['an idempotency key with a space', { idempotencyKey: 'a b' }, 'idempotency_key'],
  ['a long idempotency key', { idempotencyKey: 'x'.repeat(65) }, 'idempotency_key'],
  ['a history of nothing', { history: { size: 0, age: duration(10) } }, 'history.size'],
  ['a long history', { history: { size: 101, age: duration(10) } }, 'history.size'],
  ['a history without an age', { history: { size: 10, age: undefined } }, 'history.age'],
  ['a short history', { history: { size: 10, age: duration(0) } }, 'history.age'],
  ['a history with an age that is none', { history: { size: 10, age: { seconds: 1n, nanos: -1 } } }, 'history.age'],
  ['an old history', { history: { size: 10, age: duration(61) } }, 'history.age'],
];

describe('Publish refuses', () => {
  test.each(PUBLICATIONS)('%s', async (_, wrong, field) => {
    expect(await refused('publish', { ...good, ...wrong })).toEqual(['INVALID_ARGUMENT', 'INVALID_FIELD', { field }]);
  });
});

describe('PublishBatch refuses', () => {
  test('one that is wrong, and publishes none', async () => {
    const wrong = [good, { ...good, channel: 'kept', history: { size: 5, age: duration(10) } }, { ...good, data: '' }];
    expect(await refused('publishBatch', { publications: wrong })).toEqual([
      'INVALID_ARGUMENT',
      'INVALID_FIELD',
      { field: 'publications[2].data' },
    ]);
    const channel = createChannel(server.address);
    onCleanup(() => channel.close());
    const history = await createClient(EventServiceDefinition, channel).getHistory({ channel: 'kept' }, { metadata: Metadata() });
    expect(history).toMatchObject({ publications: [], policy: undefined });
  });

  test('none, and too many', async () => {
    for (const publications of [[], Array.from({ length: 1_001 }, () => good)]) {
      expect(await refused('publishBatch', { publications })).toEqual(['INVALID_ARGUMENT', 'INVALID_FIELD', { field: 'publications' }]);
    }
  });
});

const position = { epoch: 'x', offset: 1n };
const SUBSCRIPTIONS: [string, Partial<SubscribeRequest>, string][] = [
  ['no channel', { channels: [] }, 'channels'],
  ['a channel without a name', { channels: [{ channel: '', since: undefined }] }, 'channels[0].channel'],
  ['a channel with U+0000', { channels: [{ channel: 'a\0b', since: undefined }] }, 'channels[0].channel'],
  ['a long channel', { channels: [{ channel: 'ä'.repeat(129), since: undefined }] }, 'channels[0].channel'],
  ['too many channels', { channels: Array.from({ length: 257 }, (_, i) => ({ channel: `${i}`, since: undefined })) }, 'channels'],
  [
    'a channel twice',
    {
      channels: [
        { channel: 'a', since: undefined },
        { channel: 'a', since: undefined },
      ],
    },
    'channels',
  ],
  ['a pattern', { channels: [{ channel: 'a*', since: undefined }] }, 'channels[0].channel'],
  ['a pattern in the middle', { channels: [{ channel: 'a/*/b', since: undefined }] }, 'channels[0].channel'],
  ['a prefix in the middle', { channels: [{ channel: 'a/*/*', since: undefined }] }, 'channels[0].channel'],
  ['a deep prefix', { channels: [{ channel: 'a/a/a/a/a/a/a/a/a/*', since: undefined }] }, 'channels[0].channel'],
  ['a channel of the server’s own', { channels: [{ channel: '$cache/*', since: undefined }] }, 'channels[0].channel'],
  ['a position without an epoch', { channels: [{ channel: 'a', since: { ...position, epoch: '' } }] }, 'channels[0].since.epoch'],
  ['an epoch that is none', { channels: [{ channel: 'a', since: { ...position, epoch: '{x}' } }] }, 'channels[0].since.epoch'],
  ['an offset beyond all', { channels: [{ channel: 'a', since: { ...position, offset: 2n ** 53n } }] }, 'channels[0].since.offset'],
  ['an unknown policy', { slowPolicy: 99 as never }, 'slow_policy'],
  ['a small queue', { queueBytesMax: 4_095 }, 'queue_bytes_max'],
  ['a large queue', { queueBytesMax: 2_000_000 }, 'queue_bytes_max'],
  ['presence without a session', { present: true }, 'session_id'],
  ['to watch who is present in a prefix', { channels: [{ channel: 'a/*', since: undefined }], watchPresence: true }, 'watch_presence'],
];

describe('Subscribe refuses', () => {
  const request = { channels: [{ channel: 'a', since: undefined }] };

  test.each(SUBSCRIPTIONS)('%s', async (_, wrong, field) => {
    expect(await refused('subscribe', { ...request, ...wrong })).toEqual(['INVALID_ARGUMENT', 'INVALID_FIELD', { field }]);
  });

  test('a session that is none', async () => {
    for (const sessionId of ['never', 'not a session']) {
      expect(await refused('subscribe', { ...request, present: true, sessionId })).toEqual([
        'NOT_FOUND',
        'SESSION_NOT_FOUND',
        { session_id: sessionId },
      ]);
    }
  });

  test('a position from the future', async () => {
    const [epoch] = told.flatMap((event) => (event?.$case === 'subscribed' ? [event.value.position?.epoch] : []));
    const since = { epoch, offset: 2n ** 53n - 1n };
    for (const [method, request] of [
      ['subscribe', { channels: [{ channel: 'a', since }] }],
      ['getHistory', { channel: 'a', since }],
    ] as const) {
      const [status, reason] = await refused(method, request);
      expect([status, reason]).toEqual(['OUT_OF_RANGE', 'POSITION_OUT_OF_RANGE']);
    }
  });

  test('more subscribers than the server may have', async () => {
    const channel = createChannel(server.address);
    onCleanup(() => channel.close());
    const streams = [1, 2].map(() => createClient(EventServiceDefinition, channel).subscribe(request)[Symbol.asyncIterator]());
    await Promise.all(streams.map((stream) => stream.next()));
    const [status, reason] = await refused('subscribe', request);
    expect([status, reason]).toEqual(['RESOURCE_EXHAUSTED', 'TOO_MANY_SUBSCRIPTIONS']);
  });
});

describe('GetHistory and GetPresence refuse', () => {
  test.each([
    ['getHistory', { channel: '' }, 'channel'],
    ['getHistory', { channel: 'a/*' }, 'channel'],
    ['getHistory', { channel: '$cache/a' }, 'channel'],
    ['getHistory', { channel: 'a', pageSize: -1 }, 'page_size'],
    ['getHistory', { channel: 'a', pageToken: 'x' }, 'page_token'],
    ['getHistory', { channel: 'a', pageToken: Buffer.from('a:b').toString('base64url') }, 'page_token'],
    ['getHistory', { channel: 'a', since: { epoch: '' } }, 'since.epoch'],
    ['getPresence', { channel: '' }, 'channel'],
    ['getPresence', { channel: '*' }, 'channel'],
  ] as const)('%s %j', async (method, request, field) => {
    expect(await refused(method, request)).toEqual(['INVALID_ARGUMENT', 'INVALID_FIELD', { field }]);
  });

  test('an offset beyond all', async () => {
    const request = { channel: 'a', since: { ...position, offset: 2n ** 53n } };
    expect(await refused('getHistory', request)).toEqual(['INVALID_ARGUMENT', 'INVALID_FIELD', { field: 'since.offset' }]);
  });
});
