import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { SettingEvent, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

let stack: TestStack;
let second: TestServer;
let namespace: string;
let proxy: TcpProxy;
let client: Stafett;
let other: Stafett;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: '3s' } });
  second = await stack.addServer();
});

beforeEach(async () => {
  namespace = freshNamespace();
  proxy = await startTcpProxy({ port: stack.server.grpcPort });
  client = await connectClient(proxy, { namespace, ttl: '3s', client: 'mailer', host: 'node-1' });
  other = await connectClient(second, { namespace, ttl: '3s' });
});

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function follow(prefix: string, who = client) {
  const events: SettingEvent[] = [];
  const read = async () => {
    for await (const event of who.settings.watch(prefix)) events.push(event);
  };
  read().catch(() => {}); // by the close at the end
  const values = () =>
    events.map((event) =>
      event.type === 'snapshot' ? event.settings.map(({ key, value }) => [key, value]) : [event.setting.key, event.setting.value],
    );
  return { events, values };
}

describe('settings', () => {
  test('set, get, list, delete, history', async () => {
    const set = await client.settings.set('mail/enabled', { a: [true, null] });
    expect(set).toMatchObject({ key: 'mail/enabled', value: { a: [true, null] }, author: 'mailer@node-1' });
    expect(await other.settings.get('mail/enabled')).toEqual(set);
    expect(await other.settings.get('mail/nothing')).toBeUndefined();
    for (let i = 0; i < 120; i++) await other.settings.set(`many/${String(i).padStart(3, '0')}`, i);
    expect((await collect(client.settings.list('many/'))).map(({ value }) => value)).toEqual(Array.from({ length: 120 }, (_, i) => i));
    expect(await client.settings.delete('mail/enabled', { author: 'Kari' })).toBe(true);
    expect(await client.settings.delete('mail/enabled')).toBe(false);
    expect(await other.settings.history('mail/enabled')).toMatchObject([
      { deleted: true, author: 'Kari', value: undefined },
      { deleted: false, author: 'mailer@node-1', value: { a: [true, null] } },
    ]);
  });

  test('only at the revision that is expected', async () => {
    const first = await client.settings.set('a', 1, { ifRevision: 0n });
    await other.settings.set('a', 2, { ifRevision: first.revision });
    const refused = client.settings.set('a', 3, { ifRevision: first.revision });
    await expect(refused).rejects.toMatchObject({ reason: 'SETTING_REVISION_MISMATCH', metadata: { key: 'a' } });
    await expect(client.settings.set('a', undefined)).rejects.toThrow(TypeError);
    await expect(client.settings.set('', 1)).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
  });

  test('a change whose answer was lost is one change', async () => {
    await client.settings.set('a', 0);
    proxy.pause('down');
    const changing = client.settings.set('a', 1);
    await eventually('it to be carried out', async () => (await other.settings.get('a'))?.value === 1);
    await other.settings.set('a', 2);
    proxy.cut();
    proxy.resume('down');
    await changing;
    expect((await other.settings.get('a'))?.value).toBe(2);
  });
});

describe('several who set the same', () => {
  test('overwrite each other, and the last one stays', async () => {
    await other.settings.set('a', 'first'); // of which the client has not heard
    const sets = Array.from({ length: 20 }, (_, i) => (i % 2 ? client : other).settings.set('a', i));
    const last = (await Promise.all(sets)).reduce((a, b) => (a.revision > b.revision ? a : b));
    expect(await client.settings.get('a')).toEqual(last);
    await other.settings.delete('a');
    await client.settings.set('a', 'again', { ifRevision: 0n }); // nor of the deletion
    expect(await other.settings.delete('a')).toBe(true);
  });
});

describe('watch', () => {
  test('goes on without a gap when its connection breaks', async () => {
    await other.settings.set('mail/a', 1);
    const { events, values } = follow('mail/');
    await eventually('the snapshot', () => events.length === 1);
    proxy.refuse();
    proxy.cut();
    await eventually('the loss', () => client.session.state === 'SUSPENDED');
    for (let i = 2; i < 5; i++) await other.settings.set('mail/a', i);
    await other.settings.set('other', 1);
    await other.settings.delete('mail/a');
    await proxy.accept();
    await eventually('what happened meanwhile', () => events.length === 5);
    expect(values()).toEqual([[['mail/a', 1]], ['mail/a', 2], ['mail/a', 3], ['mail/a', 4], ['mail/a', undefined]]);
    expect(events.at(-1)?.type).toBe('deleted');
  });

  test('goes to another server when its own dies', async () => {
    const own = await stack.addServer();
    const mover = await connectClient([own, second], { namespace, ttl: '3s' });
    const { events, values } = follow('', mover);
    await eventually('the snapshot', () => events.length === 1);
    await other.settings.set('a', 1);
    await eventually('the change', () => events.length === 2);
    await own.kill();
    await other.settings.set('a', 2);
    await eventually('the next', () => events.length === 3);
    expect(values()).toEqual([[], ['a', 1], ['a', 2]]);
  });

  test('tells by a new snapshot that it was away for longer than the servers remember', async () => {
    await other.settings.set('a', 0);
    const { events } = follow('');
    await eventually('the snapshot', () => events.length === 1);
    proxy.refuse();
    proxy.cut();
    await eventually('the loss', () => client.session.state !== 'CONNECTED');
    for (let i = 0; i < 1_100; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => other.settings.set(`b/${k}`, i)));
    await proxy.accept();
    await eventually('a snapshot', () => events.length === 2);
    expect(events[1]).toMatchObject({ type: 'snapshot', reset: true });
    await other.settings.set('a', 1);
    await eventually('the next change', () => events.length === 3);
  });

  test('a reader that does not read is cut off and goes on', async () => {
    const reader = client.settings.watch('');
    await reader.next();
    const big = 'x'.repeat(60_000);
    for (let i = 0; i < 120; i++) await other.settings.set('big', { i, big });
    const seen: number[] = [];
    for await (const event of reader) {
      const settings = event.type === 'snapshot' ? event.settings : [event.setting];
      seen.push(...settings.map(({ value }) => (value as { i: number }).i));
      if (seen.at(-1) === 119) break;
    }
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });
});

describe('define', () => {
  const Size = z.number().int().positive();

  test('follows what is set, and is read at once', async () => {
    const size = client.settings.define('mail/size', Size, 100);
    expect([size.value, size.stale]).toEqual([100, true]);
    await size.ready();
    expect([size.value, size.stale, size.revision]).toEqual([100, false, 0n]);
    const told: number[][] = [];
    size.onChange((value, before) => told.push([value, before]));
    const { revision } = await other.settings.set('mail/size', 200);
    await eventually('the change', () => size.value === 200);
    expect(size.revision).toBe(revision);
    const late = client.settings.define('mail/size', Size, 1);
    expect(late.value).toBe(200);
    await other.settings.delete('mail/size');
    await eventually('the default', () => size.value === 100);
    expect(told).toEqual([[200, 100], [100, 200]]); // biome-ignore format: pairs
  });

  test('keeps the last good value, and says what is wrong', async () => {
    await other.settings.set('mail/size', 5);
    const size = client.settings.define('mail/size', Size, 100);
    await size.ready();
    const errors: string[] = [];
    size.onError(({ reason }) => errors.push(reason));
    await other.settings.set('mail/size', 'many');
    await eventually('the error', () => size.error !== undefined);
    expect([size.value, errors]).toEqual([5, ['INVALID_SETTING']]);
    expect(size.error).toMatchObject({ metadata: { key: 'mail/size' }, cause: expect.any(z.ZodError) });
    await other.settings.set('mail/size', 6);
    await eventually('the next good value', () => size.value === 6);
    expect(size.error).toBeUndefined();
  });

  test('keeps its value while no server can be reached, and says that it is stale', async () => {
    await other.settings.set('a', true);
    const live = client.settings.define('a', z.boolean(), false);
    await live.ready();
    proxy.refuse();
    proxy.cut();
    await eventually('it to be stale', () => live.stale);
    await other.settings.set('a', false);
    expect(live.value).toBe(true);
    await proxy.accept();
    await eventually('the new value', () => !live.value && !live.stale);
  });

  test('outlives the loss of Redis’ data', async () => {
    const live = client.settings.define('a', z.number(), 0);
    await other.settings.set('a', 1);
    await eventually('the value', () => live.value === 1);
    const values: number[] = [];
    live.onChange((value) => values.push(value));
    await stack.redis.client().flushall();
    await other.settings.set('a', 2);
    await eventually('the next value', () => live.value === 2);
    expect(values).toEqual([2]);
  });

  test('takes any Standard Schema, and no other thing', async () => {
    const upper = {
      '~standard': {
        validate: (value: unknown) => (typeof value === 'string' ? { value: value.toUpperCase() } : { issues: [{ message: 'no text' }] }),
      },
    };
    await other.settings.set('a', 'text');
    const live = client.settings.define('a', upper, 'x');
    await live.ready();
    expect(live.value).toBe('TEXT');
    await other.settings.set('a', 1);
    await eventually('the error', () => live.error?.message.includes('no text'));
    expect(() => client.settings.define('a', {} as typeof upper, 'x')).toThrow(TypeError);
    expect(() => client.settings.define('a', Size, -1)).toThrow(/fallback/);
  });
});
