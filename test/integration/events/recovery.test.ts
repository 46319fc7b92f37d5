import type { Redis } from 'ioredis';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Position, Stafett } from '../../../clients/typescript/src/index.js';
import { onCleanup } from '../../support/cleanup.js';
import { connectClient } from '../../support/client.js';
import { Follower, follow, numbers, publishNumbers } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { publishUnheard } from '../../support/lost-hints.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let redis: Redis;
let servers: [TestServer, TestServer];
let namespace: string;
let here: Stafett;
let away: Stafett;

beforeAll(async () => {
  const stack = await startStack({ env: { STAFETT_EVENT_HISTORY: 'case/*=1000/1h,few/*=3/1h,short/*=100/1s' } });
  redis = stack.redis.client();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  namespace = freshNamespace();
  here = await connectClient(servers[0], { namespace });
  away = await connectClient(servers[1], { namespace });
});

/** Listens until one publication is there, leaves, and tells where that was. */
async function leave(channel: string, published = channel): Promise<Position> {
  const stop = new AbortController();
  const listener = await follow(here, channel, { signal: stop.signal });
  await here.events.publish(published, 0);
  await listener.has(1);
  stop.abort();
  return listener.position(channel);
}

/** Comes back, at the other server, and tells what it is told at first. */
async function comeBack(channel: string, since: Position) {
  const listener = await follow(away, channel, { since: { [channel]: since } });
  return { listener, recovered: listener.subscribed[0]?.recovered };
}

describe.each([
  ['channel', 'case/42', 'case/42'],
  ['prefix', 'case/*', 'case/42'],
  ['prefix of all', '*', 'case/42'],
])('a subscriber of a %s that comes back', (_, feed, channel) => {
  test('has what it missed, in order, and then what happens; and is told that it is complete', async () => {
    const since = await leave(feed, channel);
    await publishNumbers(here, channel, 1, 500);
    const { listener, recovered } = await comeBack(feed, since);
    await publishNumbers(here, channel, 501, 510);
    expect(recovered).toBe(true);
    expect(await listener.has(510)).toEqual(numbers(1, 510));
    expect(listener.subscribed).toHaveLength(1);
  });

  test('has nothing, and is told so, when it missed nothing', async () => {
    const since = await leave(feed, channel);
    const { listener, recovered } = await comeBack(feed, since);
    expect([recovered, listener.data()]).toEqual([true, []]);
  });

  test('in the middle of a flood misses nothing of it', async () => {
    const since = await leave(feed, channel);
    const flood = Promise.all(numbers(0, 9).map((i) => publishNumbers(here, channel, i * 80 + 1, i * 80 + 80)));
    const { listener, recovered } = await comeBack(feed, since);
    await flood;
    expect(recovered).toBe(true);
    expect(await listener.has(800)).toEqual(numbers(1, 800));
  });
});

describe('a subscriber is told that it may have missed something', () => {
  test.each([
    ['channel', 'few/1'],
    ['prefix', 'few/*'],
  ])('when the history of a %s is too short', async (_, feed) => {
    const since = await leave(feed, 'few/1');
    await publishNumbers(here, 'few/1', 1, 10);
    const { listener, recovered } = await comeBack(feed, since);
    expect(recovered).toBe(false);
    expect(await listener.has(3)).toEqual([8, 9, 10]);
  });

  test.each([
    ['channel', 'short/1'],
    ['prefix', 'short/*'],
  ])('when what a %s kept is too old', async (_, feed) => {
    const since = await leave(feed, 'short/1');
    await publishNumbers(here, 'short/1', 1, 3);
    const history = async () => {
      for await (const _each of here.events.history('short/1')) return false;
      return true;
    };
    await eventually('the end of the history', history, { timeoutMs: 4_000 });
    const { listener, recovered } = await comeBack(feed, since);
    await here.events.publish('short/1', 4);
    expect([recovered, await listener.has(1)]).toEqual([false, [4]]);
  });

  test('when its channel keeps no history', async () => {
    const stop = new AbortController();
    const listener = await follow(here, 'plain', { signal: stop.signal });
    stop.abort();
    const { recovered } = await comeBack('plain', listener.position('plain'));
    expect(recovered).toBe(false);
  });

  test('when its position is of another epoch; it has all that this one keeps', async () => {
    const since = await leave('case/42');
    await here.events.publish('case/42', 1);
    const { listener, recovered } = await comeBack('case/42', { ...since, epoch: 'another' });
    expect([recovered, await listener.has(2)]).toEqual([false, [0, 1]]);
  });

  test('when Redis loses its data while it listens, at each server; and goes on in the next epoch', async () => {
    const since = await leave('case/42');
    const listeners = [await follow(here, ['case/42', 'case/*', 'plain']), await follow(away, ['case/42', 'case/*', 'plain'])];
    await redis.flushall();
    await here.events.publish('case/42', 1);
    for (const listener of listeners) {
      await eventually('the news', () => listener.subscribed.length >= 6);
      await listener.has(2);
      expect(listener.subscribed.every(({ recovered }) => !recovered)).toBe(true);
      expect(listener.position('case/42').epoch).not.toBe(since.epoch);
      expect(listener.data()).toEqual([1, 1]);
    }
    expect((await comeBack('case/42', since)).recovered).toBe(false);
  });
});

describe('what pub/sub loses', () => {
  test.each([
    ['channel', 'case/42'],
    ['prefix', 'case/*'],
  ])('in a %s shows with the next publication, and is read from the history', async (_, feed) => {
    const listeners = [await follow(here, feed), await follow(away, feed)];
    await here.events.publish('case/42', 1);
    for (const lost of [2, 3, 4]) await publishUnheard(redis, namespace, 'case/42', lost);
    await here.events.publish('case/42', 5);
    for (const listener of listeners) {
      expect(await listener.has(5, 1_000)).toEqual([1, 2, 3, 4, 5]);
      expect(listener.subscribed).toHaveLength(1);
    }
  });

  test('in another channel of a prefix is found, too', async () => {
    const listener = await follow(away, 'case/*');
    await here.events.publish('case/1', 1);
    await publishUnheard(redis, namespace, 'case/2', 2);
    await here.events.publish('case/1', 3);
    expect(await listener.has(3, 1_000)).toEqual([1, 2, 3]);
  });

  test.each([
    ['channel', 'case/42'],
    ['prefix', 'case/*'],
  ])('as the last one of a %s is found by the slow check', async (_, feed) => {
    const listener = await follow(away, feed);
    await here.events.publish('case/42', 1);
    await publishUnheard(redis, namespace, 'case/42', 2);
    expect(await listener.has(2, 5_000)).toEqual([1, 2]);
  });

  test('while the subscription is made again is found', async () => {
    const listener = await follow(away, ['case/42', 'case/*']);
    for (const i of numbers(1, 20)) {
      if (i % 5 === 0) await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await here.events.publish('case/42', i);
    }
    await listener.has(40);
    for (const feed of ['case/42', 'case/*']) {
      const told = listener.events.flatMap((event) => (event.type === 'publication' && event.subscription === feed ? event.data : []));
      expect(told).toEqual(numbers(1, 20));
    }
    expect(listener.subscribed).toHaveLength(2);
  });

  test('while no subscription is possible at all is found by the slow check', async () => {
    const listener = await follow(away, 'case/42');
    onCleanup(() => redis.call('ACL', 'SETUSER', 'default', '+subscribe', '+psubscribe'));
    await redis.call('ACL', 'SETUSER', 'default', '-subscribe', '-psubscribe');
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await publishNumbers(here, 'case/42', 1, 3);
    expect(await listener.has(3, 8_000)).toEqual([1, 2, 3]);
  });
});

test('who comes back while Redis refuses to subscribe goes on when it does no longer', async () => {
  const since = { 'case/42': await leave('case/42') };
  const subscriptions = (may: '+' | '-') => redis.call('ACL', 'SETUSER', 'default', `${may}subscribe`, `${may}psubscribe`);
  onCleanup(() => subscriptions('+'));
  await subscriptions('-');
  const listener = new Follower(away, ['case/42'], { since });
  await eventually('the server to be refused', () => servers[1].logs().some(({ msg }) => msg.startsWith('Redis refuses to subscribe')));
  await publishNumbers(here, 'case/42', 1, 3);
  await subscriptions('+');
  expect(await listener.has(3)).toEqual([1, 2, 3]);
  expect(listener.subscribed).toMatchObject([{ recovered: true }]);
});

test('a position from the future is refused, with its reason', async () => {
  const { epoch, offset } = await leave('case/42');
  const subscription = away.events.subscribe('case/42', { since: { 'case/42': { epoch, offset: offset + 1e12 } } });
  await expect(subscription[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'OUT_OF_RANGE',
    reason: 'POSITION_OUT_OF_RANGE',
    metadata: { channel: 'case/42' },
  });
});
