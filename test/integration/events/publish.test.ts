import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { follow, numbers, publishNumbers } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';

const HISTORY = { history: { size: 5, age: '1h' } };

let stack: TestStack;
let servers: [TestServer, TestServer];
let namespace: string;
let here: Stafett;
let away: Stafett;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_EVENT_HISTORY: 'kept/*=1000/1h,kept/few/*=3/1h', STAFETT_IDEMPOTENCY_WINDOW: '2s' } });
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  namespace = freshNamespace();
  here = await connectClient(servers[0], { namespace });
  away = await connectClient(servers[1], { namespace });
});

async function history(channel: string): Promise<unknown[]> {
  const data: unknown[] = [];
  for await (const publication of away.events.history(channel)) data.push(publication.data);
  return data;
}

describe('a publication', () => {
  test('reaches who listens to its channel, at this server and at others, and nobody else', async () => {
    const listeners = await Promise.all([here, away].map((client) => follow(client, 'case/42')));
    const elsewhere = await follow(away, ['case/4', 'case/42/x', 'Case/42', 'user/*']);
    const stranger = await follow(await connectClient(servers[1], { namespace: freshNamespace() }), ['case/42', '*']);
    await here.events.publish('case/42', { state: 'closed', by: ['ä€😀', null] }, { key: 'state' });
    for (const listener of listeners) {
      await listener.has(1);
      expect(listener.publications).toMatchObject([
        { channel: 'case/42', data: { state: 'closed', by: ['ä€😀', null] }, key: 'state', position: undefined },
      ]);
      expect(Math.abs((listener.publications[0]?.publishTime.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    }
    await here.events.publish('case/4', 'the end');
    expect(await elsewhere.has(1)).toEqual(['the end']);
    expect(stranger.data()).toEqual([]);
  });

  test.each(['plain', 'kept/1'])('arrives in its order with all others of %s', async (channel) => {
    const listeners = await Promise.all([here, away].map((client) => follow(client, channel)));
    await publishNumbers(here, channel, 1, 2_500);
    for (const listener of listeners) expect(await listener.has(2_500)).toEqual(numbers(1, 2_500));
  });

  test('is covered by prefixes, however many segments follow, and by the one for all', async () => {
    const listener = await follow(away, ['a/*', 'a/b/*', '*']);
    for (const channel of ['a/b/c', 'a/x', 'a', 'ab/c', 'a/']) await here.events.publish(channel, channel);
    await eventually('all', () => listener.publications.length >= 3 + 1 + 5);
    const by = (subscription: string) =>
      listener.events.flatMap((event) => (event.type === 'publication' && event.subscription === subscription ? event.channel : []));
    expect(by('a/*')).toEqual(['a/b/c', 'a/x', 'a/']);
    expect(by('a/b/*')).toEqual(['a/b/c']);
    expect(by('*')).toEqual(['a/b/c', 'a/x', 'a', 'ab/c', 'a/']);
  });

  test('in a channel whose name looks like a pattern goes to nobody else', async () => {
    const listener = await follow(away, ['[ab]?/*', 'x']);
    await here.events.publish('a1/x', 1);
    await here.events.publish('[ab]?/x', 2);
    await here.events.publish('x', 3);
    expect(await listener.has(2)).toEqual([2, 3]);
  });
});

describe('a history', () => {
  test('is kept as the configuration says, by the longest pattern, and not without one', async () => {
    for (const channel of ['kept/1', 'kept/few/1', 'other']) await publishNumbers(here, channel, 1, 10);
    expect(await history('kept/1')).toEqual(numbers(1, 10));
    expect(await history('kept/few/1')).toEqual([8, 9, 10]);
    expect(await history('other')).toEqual([]);
  });

  test('is given by the first publisher that asks for one, and stays as it is', async () => {
    for (const i of numbers(1, 4)) await here.events.publish('first', i, i === 2 ? HISTORY : {});
    await here.events.publish('first', 5, { history: { size: 1, age: '1s' } });
    expect(await history('first')).toEqual([2, 3, 4, 5]);
    await publishNumbers(here, 'first', 6, 9);
    expect(await history('first')).toEqual(numbers(5, 9));
  });

  test('ends with its age', async () => {
    await here.events.publish('short', 1, { history: { size: 100, age: '1s' } });
    expect(await history('short')).toEqual([1]);
    await eventually('its end', async () => (await history('short')).length === 0, { timeoutMs: 3_000 });
  });

  test('is read in pages, and from a position', async () => {
    await publishNumbers(here, 'kept/1', 1, 250);
    expect(await history('kept/1')).toEqual(numbers(1, 250));
    const { position } = await here.events.publish('kept/1', 251);
    await publishNumbers(here, 'kept/1', 252, 260);
    const rest: unknown[] = [];
    for await (const { data } of away.events.history('kept/1', { since: position! })) rest.push(data);
    expect(rest).toEqual(numbers(252, 260));
  });
});

describe('an idempotency key', () => {
  test.each(['plain', 'kept/1'])('makes two publications in %s one, at any server, for its window', async (channel) => {
    const listener = await follow(away, channel);
    const first = await here.events.publish(channel, 1, { idempotencyKey: 'k' });
    expect(first.duplicate).toBe(false);
    expect(await away.events.publish(channel, 2, { idempotencyKey: 'k' })).toEqual({ ...first, duplicate: true });
    expect((await here.events.publish(`${channel}/other`, 3, { idempotencyKey: 'k' })).duplicate).toBe(false);
    await eventually('the end of the window', async () => !(await here.events.publish(channel, 4, { idempotencyKey: 'k' })).duplicate);
    expect(await listener.has(2)).toEqual([1, 4]);
  });

  test('of its own has each publication happen once, though connections break', async () => {
    const proxy = await startTcpProxy({ port: servers[0].grpcPort });
    const publisher = await connectClient(proxy, { namespace });
    const listener = await follow(away, 'kept/1');
    for (const round of numbers(1, 10)) {
      const publishing = publishNumbers(publisher, 'kept/1', round * 20 - 19, round * 20);
      await new Promise((resolve) => setTimeout(resolve, round)); // anywhere on the way there or back
      proxy.cut();
      await publishing;
    }
    expect(await listener.has(200)).toEqual(numbers(1, 200));
  });
});

test('a publication that is refused refuses no other of the same message', async () => {
  const listener = await follow(away, 'plain');
  const outcomes = await Promise.allSettled([
    here.events.publish('plain', 1),
    here.events.publish('no*', 2),
    here.events.publish('plain', 'x'.repeat(70_000)),
    here.events.publish('plain', 3),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
  expect(outcomes[1]).toMatchObject({ reason: { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', metadata: { field: 'channel' } } });
  expect(outcomes[2]).toMatchObject({ reason: { metadata: { field: 'data' } } });
  expect(await listener.has(2)).toEqual([1, 3]);
});

test('a channel is subscribed to in Redis only while somebody listens to it', async () => {
  const redis = stack.redis.client();
  const channels = async () => ((await redis.call('PUBSUB', 'CHANNELS', `stafett:{${namespace}}:*`)) as string[]).length;
  const patterns = async () => (await redis.call('PUBSUB', 'NUMPAT')) as number;
  const [channelsBefore, patternsBefore] = [await channels(), await patterns()];
  const stop = new AbortController();
  for (const client of [here, here, away]) await follow(client, ['a', 'b', 'c/*'], { signal: stop.signal });
  expect([await channels(), await patterns()]).toEqual([channelsBefore + 2, patternsBefore + 1]);
  // However many listen, each server has one connection for it.
  const connections = ((await redis.client('LIST', 'TYPE', 'PUBSUB')) as string).trim().split('\n');
  expect(connections).toHaveLength(2);
  stop.abort();
  await eventually('the end', async () => (await channels()) === channelsBefore && (await patterns()) === patternsBefore);
});
