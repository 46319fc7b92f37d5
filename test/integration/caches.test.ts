import { setTimeout as sleep } from 'node:timers/promises';
import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Cache, CacheOptions, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, gate } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { refusal } from '../support/stub-client.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

let stack: TestStack;
let second: TestServer;
let namespace: string;
let proxy: TcpProxy;
let one: Stafett;
let two: Stafett;
/** What the caches load from. */
let source: Map<string, string>;
let loads: string[];

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: '3s' } });
  second = await stack.addServer();
});

beforeEach(async () => {
  namespace = freshNamespace();
  proxy = await startTcpProxy({ port: second.grpcPort });
  one = await connectClient(stack.server, { namespace, ttl: '3s' });
  two = await connectClient(proxy, { namespace, ttl: '3s' });
  source = new Map();
  loads = [];
});

async function create(stafett: Stafett, options: Partial<CacheOptions<string>> = {}): Promise<Cache<string>> {
  const load = async (key: string) => {
    loads.push(key);
    return source.get(key) ?? 'nothing';
  };
  const cache = stafett.caches.create('customers', { max: 100, load, ...options });
  await eventually('the cache to be confirmed', () => cache.isConfirmed && cache.stats.resets > 0);
  return cache;
}

async function pair(options: Partial<CacheOptions<string>> = {}): Promise<[Cache<string>, Cache<string>]> {
  return [await create(one, options), await create(two, options)];
}

describe('get', () => {
  test('loads once, however many ask, and then answers by itself', async () => {
    source.set('a', '1');
    const cache = await create(one);
    expect(await Promise.all([cache.get('a'), cache.get('a'), cache.get('a')])).toEqual(['1', '1', '1']);
    expect(await cache.get('a')).toBe('1');
    expect(loads).toEqual(['a']);
    expect(cache.stats).toMatchObject({ hits: 1, misses: 3, loads: 1, unconfirmed: 0 });
    expect([cache.peek('a'), cache.peek('b'), cache.size]).toEqual(['1', undefined, 1]);
  });

  test('passes on what the load throws, stores nothing, and loads again', async () => {
    let fails = true;
    const cache = await create(one, {
      load: (key) => {
        if (fails) throw new Error('no source');
        return key;
      },
    });
    await expect(Promise.all([cache.get('a'), cache.get('a')])).rejects.toThrow('no source');
    fails = false;
    expect(await cache.get('a')).toBe('a');
  });

  test('keeps no more than max, and no longer than ttl', async () => {
    const cache = await create(one, { max: 3, ttl: 150 });
    for (const key of ['a', 'b', 'c', 'd']) await cache.get(key);
    expect(cache.size).toBe(3);
    await sleep(200);
    loads = [];
    await cache.get('d');
    expect(loads).toEqual(['d']);
  });
});

describe('invalidate', () => {
  const tags = (_: string, key: string) => (key.startsWith('case') ? ['case'] : []);
  const KEYS = ['a', 'b', 'case/1', 'case/2', 'cases'];
  test.each([
    ['a key', 'a', ['a']],
    ['keys', ['a', 'case/1'], ['a', 'case/1']],
    ['a prefix', { prefix: 'case/' }, ['case/1', 'case/2']],
    ['a tag', { tags: ['case', 'other'] }, ['case/1', 'case/2', 'cases']],
    ['all', { all: true as const }, KEYS],
  ])('%s, on every node', async (_, what, gone) => {
    const caches = await pair({ tags });
    for (const cache of caches) for (const key of KEYS) await cache.get(key);
    await caches[0].invalidate(what);
    const removed = (cache: Cache<string>) => KEYS.filter((key) => cache.peek(key) === undefined);
    expect(removed(caches[0])).toEqual(gone);
    await eventually('the other node to hear of it', () => caches[1].stats.invalidations > 0);
    expect(removed(caches[1])).toEqual(gone);
  });

  test('what was being loaded meanwhile is not stored, and nobody joins it', async () => {
    const [began, enough] = [gate(), gate()];
    source.set('a', 'old');
    const cache = await create(two, {
      load: async (key) => {
        const value = source.get(key) ?? '';
        began.open();
        if (value === 'old') await enough.opened;
        return value;
      },
    });
    const other = await create(one);
    const before = cache.get('a');
    await began.opened;
    source.set('a', 'new');
    await other.invalidate('a');
    await eventually('the invalidation', () => cache.stats.invalidations > 0);
    expect(await cache.get('a')).toBe('new');
    enough.open();
    expect(await before).toBe('old'); // it asked before
    expect(cache.peek('a')).toBe('new');
  });

  test('reaches caches of the same name and namespace only', async () => {
    const [cache, other] = [await create(one), one.caches.create('other', { max: 10, load: () => 'x' })];
    const foreign = await create(await connectClient(stack.server, { namespace: freshNamespace(), ttl: '3s' }));
    await eventually('it to be confirmed', () => other.isConfirmed && other.stats.resets > 0);
    for (const each of [cache, other, foreign]) await each.get('a');
    await cache.invalidate('a');
    await cache.get('a');
    expect([other.peek('a'), foreign.peek('a')]).toEqual(['x', 'nothing']);
  });
});

describe('set', () => {
  test('removes elsewhere, stays here', async () => {
    const caches = await pair();
    for (const cache of caches) await cache.get('a');
    source.set('a', 'new');
    await caches[0].set('a', 'new');
    await eventually('the others to hear of it', () => caches.every(({ stats }) => stats.invalidations > 0));
    loads = [];
    expect(await Promise.all(caches.map((cache) => cache.get('a')))).toEqual(['new', 'new']);
    expect(loads).toEqual(['a']);
  });

  test('sends the value along', async () => {
    const caches = await pair();
    await caches[0].set('a', 'shared', { share: true, tags: ['t'] });
    await eventually('the value', () => caches[1].peek('a') === 'shared');
    expect(loads).toEqual([]);
    await caches[1].invalidate({ tags: 't' });
    await eventually('it to be gone', () => caches[0].peek('a') === undefined);
  });

  test('of two who set at the same time, all end with the same', async () => {
    const caches = await pair();
    await Promise.all(caches.map((cache, i) => cache.set('a', `value-${i}`, { share: true })));
    await eventually('all news', () => caches.every(({ stats }) => stats.invalidations === 2));
    expect(caches[0].peek('a')).toBe(caches[1].peek('a'));
    expect(caches[0].peek('a')).toMatch(/^value-/);
  });
});

describe('a node that is cut off', () => {
  test('does not use its entries for longer than the staleness, and keeps them if nothing was missed', async () => {
    const [other, cache] = await pair({ staleness: 1_000 });
    source.set('a', 'old');
    await cache.get('a');
    await cache.get('b');
    proxy.refuse();
    proxy.cut();
    await eventually('it not to be confirmed', () => !cache.isConfirmed);
    source.set('a', 'new');
    await other.invalidate('a');
    expect(await cache.get('a')).toBe('new');
    expect(cache.stats.unconfirmed).toBe(1);
    const { resets } = cache.stats;
    await proxy.accept();
    await eventually('it to be confirmed again', () => cache.isConfirmed);
    loads = [];
    expect([await cache.get('a'), await cache.get('b')]).toEqual(['new', 'nothing']);
    expect(loads).not.toContain('b');
    expect(cache.stats.resets).toBe(resets);
  });

  test('also when nothing breaks, but nothing comes', async () => {
    const [other, cache] = await pair({ staleness: 1_000 });
    source.set('a', 'old');
    await cache.get('a');
    proxy.pause('down');
    source.set('a', 'new');
    await other.invalidate('a');
    const confirmedAt = performance.now();
    while (performance.now() - confirmedAt < 1_100) await sleep(20);
    expect(await cache.get('a')).toBe('new');
    proxy.resume('down');
  });

  test('is told to clear when it was away for longer than is remembered', async () => {
    const [other, cache] = await pair();
    await cache.get('a');
    proxy.refuse();
    proxy.cut();
    await other.invalidate('b');
    const redis = stack.redis.client();
    expect(await redis.del(await redis.keys(`*{${namespace}}*history:$cache/customers`))).toBe(1); // what is older than the history
    await proxy.accept();
    await eventually('the reset', () => cache.stats.resets === 2);
    expect(cache.size).toBe(0);
  });

  test('is told to clear when Redis has lost its data', async () => {
    const caches = await pair();
    for (const cache of caches) await cache.get('a');
    await stack.redis.client().flushall();
    await eventually('the resets', () => caches.every(({ stats }) => stats.resets === 2));
    await eventually('the confirmations', () => caches.every(({ isConfirmed }) => isConfirmed));
    expect(caches.map(({ size }) => size)).toEqual([0, 0]);
  });
});

describe('bad input', () => {
  test('is refused with the field, and nobody is told anything', async () => {
    const { caches } = connectStub(stack.server, namespace);
    const told: string[] = [];
    async function* requests() {
      yield { cache: 'a' };
      await sleep(60_000, undefined, { ref: false });
    }
    const listen = async () => {
      for await (const { news } of caches.watchInvalidations(requests())) {
        told.push(news?.$case === 'invalidation' ? news.value.keys.join() : `${news?.$case}`);
      }
    };
    listen().catch(() => {}); // by the end of the test
    await eventually('the watch', () => told.length === 1);
    const wrong: [Parameters<typeof caches.invalidate>[0], string][] = [
      [{ cache: '', keys: ['a'] }, 'cache'],
      [{ cache: 'a*', keys: ['a'] }, 'cache'],
      [{ cache: 'x'.repeat(201), keys: ['a'] }, 'cache'],
      [{ cache: 'a\0b', keys: ['a'] }, 'cache'],
      [{ cache: 'a' }, 'keys'],
      [{ cache: 'a', keys: [''] }, 'keys'],
      [{ cache: 'a', keys: Array.from({ length: 1_001 }, (_, i) => `${i}`) }, 'keys'],
      [{ cache: 'a', keys: ['x'.repeat(1_025)] }, 'keys'],
      [{ cache: 'a', keys: Array.from({ length: 900 }, (_, i) => `${i}`.padStart(100, '0')) }, 'keys'], // longer than a publication may be
      [{ cache: 'a', prefixes: [''] }, 'prefixes'],
      [{ cache: 'a', prefixes: ['ä'.repeat(513)] }, 'prefixes'],
      [{ cache: 'a', tags: ['x'.repeat(1_025)] }, 'tags'],
      [{ cache: 'a', tags: [''] }, 'tags'],
      [{ cache: 'a', value: '1' }, 'keys'],
      [{ cache: 'a', all: true, value: '1' }, 'value'],
      [{ cache: 'a', keys: ['a'], value: '' }, 'value'],
      [{ cache: 'a', keys: ['a'], value: JSON.stringify('x'.repeat(65_536)) }, 'value'],
      [{ cache: 'a', keys: ['a'], value: '1', valueTags: ['x'.repeat(1_025)] }, 'value_tags'],
      [{ cache: 'a', keys: ['a', 'b'], value: '1' }, 'value'],
      [{ cache: 'a', keys: ['a'], value: '{' }, 'value'],
      [{ cache: 'a', all: true, valueTags: ['x'] }, 'value_tags'],
      [{ cache: 'a', all: true, requestId: 'ø' }, 'request_id'],
      [{ cache: 'a', all: true, origin: 'x'.repeat(65) }, 'origin'],
    ];
    for (const [request, field] of wrong) {
      expect(await refusal(caches.invalidate(request))).toMatchObject({ code: Status.INVALID_ARGUMENT, metadata: { field } });
    }
    await caches.invalidate({ cache: 'a', keys: ['good'] });
    await eventually('the one that is good', () => told.includes('good'));
    expect(told).toEqual(['reset', 'good']);
    expect(() => one.caches.create('a', { max: 0, load: () => 1 })).toThrow(/max/);
    expect(() => one.caches.create('a*', { max: 1, load: () => 1 })).toThrow(/name/);
    expect(() => one.caches.create('a', { max: 1, staleness: 10, load: () => 1 })).toThrow(/staleness/);
    await expect((await create(one)).invalidate({} as { all: true })).rejects.toThrow(TypeError);
  });

  test('a stream that breaks the rules ends with the field', async () => {
    const { caches } = connectStub(stack.server, namespace);
    const watch = async (requests: { cache?: string; sequence?: bigint; since?: { epoch: string; offset: bigint } }[]) => {
      async function* send() {
        yield* requests;
        await sleep(2_000, undefined, { ref: false });
      }
      for await (const each of caches.watchInvalidations(send())) void each;
    };
    expect(await refusal(watch([{ cache: '' }]))).toMatchObject({ metadata: { field: 'cache' } });
    expect(await refusal(watch([{ cache: 'a' }, { cache: 'b', sequence: 1n }]))).toMatchObject({ metadata: { field: 'cache' } });
    expect(await refusal(watch([{ cache: 'a' }, { sequence: 0n }]))).toMatchObject({ metadata: { field: 'sequence' } });
    expect(await refusal(watch([{ cache: 'a', since: { epoch: '!', offset: 0n } }]))).toMatchObject({ metadata: { field: 'since.epoch' } });
    const tooHigh = { epoch: 'x', offset: 2n ** 53n };
    expect(await refusal(watch([{ cache: 'a', since: tooHigh }]))).toMatchObject({ metadata: { field: 'since.offset' } });
    const { position } = await caches.invalidate({ cache: 'a', all: true });
    const future = { epoch: position?.epoch ?? '', offset: 2n ** 53n - 1n };
    expect(await refusal(watch([{ cache: 'a', since: future }]))).toMatchObject({
      code: Status.OUT_OF_RANGE,
      reason: 'POSITION_OUT_OF_RANGE',
    });
  });
});
