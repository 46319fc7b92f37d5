import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { ChannelEvent, Stafett, SubscribeOptions } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { follow } from '../../support/events.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let stack: TestStack;
let servers: [TestServer, TestServer];
let namespace: string;
let here: Stafett;
let away: Stafett;

beforeAll(async () => {
  stack = await startStack();
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  namespace = freshNamespace();
  here = await connectClient(servers[0], { namespace, client: 'page', host: 'node-1' });
  away = await connectClient(servers[1], { namespace });
});

function subscribe(client: Stafett, options: SubscribeOptions = {}) {
  const stop = new AbortController();
  return follow(client, 'case/42', { present: true, signal: stop.signal, ...options }).then((follower) => ({ follower, stop }));
}

const members = async (channel = 'case/42') => (await away.events.presence(channel)).map(({ client }) => client);
const comings = (events: ChannelEvent[]) =>
  events.flatMap((event) => (event.type === 'join' || event.type === 'leave' ? `${event.type} ${event.member.client}` : []));

test('tells who is subscribed, at whichever server, since when', async () => {
  const before = Date.now();
  await subscribe(here);
  await subscribe(here, { present: false });
  await eventually('the member', async () => (await members()).length === 1);
  const [member] = await away.events.presence('case/42');
  expect(member).toMatchObject({ channel: 'case/42', client: 'page', host: 'node-1', sessionId: here.session.id });
  expect(Math.abs((member?.joinTime.getTime() ?? 0) - before)).toBeLessThan(30_000);
  expect(await members('case/4')).toEqual([]);
});

test('tells who joins and who leaves', async () => {
  const watcher = await follow(away, 'case/42', { watchPresence: true });
  const { stop } = await subscribe(here);
  await eventually('the join', () => comings(watcher.events).length === 1);
  const other = await connectClient(servers[0], { namespace, client: 'other' });
  await subscribe(other);
  await eventually('the other', () => comings(watcher.events).length === 2);
  stop.abort();
  await eventually('the leave', () => comings(watcher.events).length === 3);
  await other.close();
  await eventually('the other leave', () => comings(watcher.events).length === 4);
  expect(comings(watcher.events)).toEqual(['join page', 'join other', 'leave page', 'leave other']);
  expect(await members()).toEqual([]);
});

test('tells a watcher first who is there', async () => {
  await subscribe(here);
  await eventually('the member', async () => (await members()).length === 1);
  for (const client of [here, away]) {
    const watcher = await follow(client, 'case/42', { watchPresence: true });
    await eventually('the join', () => comings(watcher.events).length === 1);
  }
});

test('ends with the session', async () => {
  const { follower } = await subscribe(here);
  await eventually('the member', async () => (await members()).length === 1);
  const first = await away.events.presence('case/42');
  await stack.redis.client().flushall(); // and comes again, with a session that is asserted or a new one
  await eventually('the member', async () => (await members()).length === 1);
  expect(first).toHaveLength(1);
  void follower;
  await here.close();
  await eventually('the end', async () => (await members()).length === 0);
});

test('ends when the server dies, for those who do not come back, and leaves nothing in Redis', async () => {
  const doomed = await stack.addServer();
  const client = await connectClient(doomed, { namespace, client: 'doomed', ttl: '2s' });
  const watcher = await follow(away, 'case/42', { watchPresence: true });
  await subscribe(client);
  await eventually('the member', () => comings(watcher.events).length === 1);
  await doomed.kill();
  await eventually('the leave', () => comings(watcher.events).length === 2, { timeoutMs: 15_000 });
  expect(comings(watcher.events)).toEqual(['join doomed', 'leave doomed']);
  const redis = stack.redis.client();
  const left = async () => (await redis.keys(`stafett:{${namespace}}:*`)).filter((key) => /:presen(t|ce:.*)$/.test(key));
  await eventually('the end of its keys', async () => (await left()).length === 0, { timeoutMs: 15_000 });
});
