import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../server/src/config/config.js';
import { toResponse } from '../../server/src/events/encoded-events.js';
import { parseEventId, toEventId } from '../../server/src/events/event-id.js';
import { covers, depthOf, feedsOf, patternOf } from '../../server/src/events/feed-names.js';
import { policyFor } from '../../server/src/events/history-policy.js';
import { OutboundQueue } from '../../server/src/events/outbound-queue.js';
import { toEvent } from '../../server/src/events/publication.js';
import { SubscribeResponse, type SubscriptionEvent } from '../../server/src/gen/stafett/v1/event.js';
import { ENCODED } from '../../server/src/rpc/strict-decoding.js';

describe('feeds', () => {
  test.each([
    ['case', ['case', '*']],
    ['case/42', ['case/42', '*', 'case/*']],
    ['a/b/c', ['a/b/c', '*', 'a/*', 'a/b/*']],
    ['/a//b', ['/a//b', '*', '/*', '/a/*', '/a//*']],
    ['$cache/a', ['$cache/a', '$*', '$cache/*']],
    [
      '1/2/3/4/5/6/7/8/9/10',
      ['1/2/3/4/5/6/7/8/9/10', '*', ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => `${[1, 2, 3, 4, 5, 6, 7, 8].slice(0, n).join('/')}/*`)],
    ],
  ])('of %s', (channel, feeds) => {
    expect(feedsOf(channel)).toEqual(feeds);
    for (const [depth, feed] of feeds.entries()) expect([depthOf(feed), covers(feed, channel)]).toEqual([depth, true]);
  });

  test('cover no others', () => {
    expect(covers('case/*', 'case')).toBe(false);
    expect(covers('*', '$cache/a')).toBe(false);
    expect(patternOf('a[b]?\\*/*')).toBe('a\\[b\\]\\?\\\\\\*/*');
  });
});

describe('messages to subscribers', () => {
  const event = (n: number): SubscriptionEvent =>
    toEvent('a', { channel: 'a', epoch: 'e', offset: n, before: [n - 1], time: 1_700_000_000_123, key: 'ø', data: `"${n}"` });
  const bytesOf = (events: SubscriptionEvent[]) => (toResponse(events) as { [ENCODED]?: Uint8Array })[ENCODED] as Uint8Array;

  test.each([1, 2, 5])('of %i events are what the codec makes of them', (count) => {
    const events = Array.from({ length: count }, (_, i) => event(i + 1));
    expect(SubscribeResponse.decode(bytesOf(events))).toEqual({ events });
    expect([...bytesOf(events)]).toEqual([...SubscribeResponse.encode({ events }).finish()]);
  });

  test('are encoded once for all who are told the same', () => {
    const [one, two, three] = [event(1), event(2), event(3)];
    expect(bytesOf([one])).toBe(bytesOf([one]));
    expect(bytesOf([one, two])).toBe(bytesOf([one, two]));
    expect(SubscribeResponse.decode(bytesOf([one, three])).events).toEqual([one, three]);
    expect(SubscribeResponse.decode(bytesOf([one, two, three])).events).toEqual([one, two, three]);
  });
});

describe('the configuration of histories', () => {
  test('gives each channel the longest pattern', () => {
    const rules = parseConfig({ STAFETT_EVENT_HISTORY: '*=1/1s, case/*=2/5m,case/42=3/1h' }).historyRules ?? [];
    expect(['x', 'case/1', 'case/42', 'case/421'].map((channel) => policyFor(rules, channel)?.size)).toEqual([1, 2, 3, 2]);
    expect(policyFor([], 'x')).toBeUndefined();
  });

  test.each(['case/*', 'case/*=0/1h', 'case/*=1', 'case/*=1/25h', 'a*b=1/1h', '=1/1h', '$a=1/1h', 'a=1/1h,,b=1/1h', 'a=1/1h,a=1/1h'])(
    '%s is refused',
    (text) => {
      expect(() => parseConfig({ STAFETT_EVENT_HISTORY: text })).toThrow(/^STAFETT_EVENT_HISTORY=.*must be rules/);
    },
  );

  test.each(['example.org', 'https://example.org/', 'ftp://example.org', ''.padEnd(3, ',')])('the origin %j is refused', (text) => {
    expect(() => parseConfig({ STAFETT_HTTP_CORS_ORIGINS: text })).toThrow(/^STAFETT_HTTP_CORS_ORIGINS=.*must be origins/);
  });
});

describe('the id of an event', () => {
  test.each([
    [[['e', 5]], 'e:5'],
    [
      [
        ['e', 36],
        ['e', 36],
        ['e', 37],
      ],
      'e:10,,11',
    ],
    [
      [
        ['e', 1],
        ['f', 1],
        ['f', 1],
      ],
      'e:1,f:1,',
    ],
  ] as [[string, number][], string][])('of %j', (places, id) => {
    const positions = places.map(([epoch, offset]) => ({ epoch, offset }));
    expect(toEventId(positions)).toBe(id);
    expect(parseEventId('id', id, positions.length)).toEqual(positions);
  });

  test.each(['', '5', ':5', 'e:', 'e:-', 'e:5,6', 'e:5:6:', 'e e:5'])('%j is none', (id) => {
    expect(() => parseEventId('id', id, 1)).toThrow(/^id/);
  });
});

describe('a queue', () => {
  const fill = (queue: OutboundQueue<number>, count: number, keys = 0) =>
    Array.from({ length: count }, (_, i) => queue.push(i, 10, keys > 0 ? `${i % keys}` : ''));

  test('hands out in order, as many as fit, and at least one', () => {
    const queue = new OutboundQueue<number>('disconnect', 100);
    fill(queue, 5);
    expect([queue.take(25), queue.take(1), queue.take(100), queue.bytes, queue.isEmpty]).toEqual([[0, 1], [2], [3, 4], 0, true]);
  });

  test('that may not drop has no room', () => {
    const queue = new OutboundQueue<number>('disconnect', 100);
    expect(fill(queue, 11)).toEqual([...Array(10).fill(0), undefined]);
    expect(queue.takeDropped()).toBe(0);
  });

  test('drops the oldest, but no news', () => {
    const queue = new OutboundQueue<number>('drop-oldest', 100);
    queue.pushFirmly(-1, 10);
    fill(queue, 20);
    expect(queue.take(1_000)).toEqual([-1, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect([queue.takeDropped(), queue.takeDropped()]).toEqual([11, 0]);
    for (let i = 0; i < 10; i++) expect(queue.pushFirmly(i, 10)).toBe(true);
    expect([queue.pushFirmly(10, 10), queue.push(1, 10, '')]).toEqual([false, undefined]);
  });

  test('keeps the latest with each key, and drops the oldest if that is not enough', () => {
    const queue = new OutboundQueue<number>('conflate', 100);
    fill(queue, 50, 3);
    expect([queue.take(1_000), queue.takeDropped()]).toEqual([[47, 48, 49], 47]);
    fill(queue, 50, 20);
    expect([queue.take(1_000), queue.takeDropped()]).toEqual([[40, 41, 42, 43, 44, 45, 46, 47, 48, 49], 40]);
    fill(queue, 1, 3);
    expect([queue.take(1_000), queue.takeDropped()]).toEqual([[0], 0]);
  });
});
