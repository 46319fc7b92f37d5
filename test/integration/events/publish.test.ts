import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ChannelEvent, Stafett, SubscribeOptions } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

let servers: [TestServer, TestServer];
let here: Stafett;
let away: Stafett;

beforeAll(async () => {
  const stack = await startStack({ env: { STAFETT_EVENT_HISTORY: 'kept/*=100/1h,few/*=3/1h' } });
  servers = [stack.server, await stack.addServer()];
});

beforeEach(async () => {
  const namespace = freshNamespace();
  here = await connectClient(servers[0], { namespace });
  away = await connectClient(servers[1], { namespace });
});

async function follow(client: Stafett, channels: string[], options: SubscribeOptions = {}) {
  const events: ChannelEvent[] = [];
  const subscription = client.events.subscribe(channels, options);
  const read = async () => {
    for await (const event of subscription) events.push(event);
  };
  read().catch(() => {});
  await eventually('the subscription', () => events.filter(({ type }) => type === 'subscribed').length >= channels.length);
  return { events, subscription, data: () => events.flatMap((event) => (event.type === 'publication' ? [event.data] : [])) };
}

describe('publish', () => {
  test('reaches the other server', async () => {
    const { data } = await follow(away, ['case/42']);
    await here.events.publish('case/42', { a: 1 });
    await eventually('it', () => data().length === 1);
    expect(data()).toEqual([{ a: 1 }]);
  });
  test('kept', async () => {
    const { data, subscription } = await follow(away, ['kept/42', 'kept/*']);
    for (let i = 0; i < 10; i++) await here.events.publish('kept/42', i);
    await eventually('it', () => data().length === 20);
    const { positions } = subscription;
    const rest = await follow(here, ['kept/42', 'kept/*', 'kept/41'], {
      since: { ...positions, 'kept/41': positions['kept/42'] as never },
    });
    expect(rest.events.map((e) => [e.type, e.type === 'subscribed' && e.recovered])).toEqual([
      ['subscribed', true],
      ['subscribed', true],
      ['subscribed', true],
    ]);
    const position = positions['kept/42'] as never;
    for (let i = 0; i < 10; i++) await here.events.publish('kept/42', i);
    await eventually('rest', () => rest.data().length === 20);
    const again = await follow(here, ['kept/42', 'kept/*'], { since: { 'kept/42': position, 'kept/*': position } });
    await eventually('again', () => again.data().length === 20);
    for (let i = 0; i < 10; i++) await here.events.publish('few/1', i);
    const few = await follow(here, ['few/1', 'few/*'], { since: { 'few/1': position, 'few/*': position } });
    await eventually('few', () => few.data().length === 6);
    const history = [];
    for await (const p of here.events.history('kept/42')) history.push(p.data);
    expect(history).toHaveLength(20);
  });
});
