import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { type CalledInstance, startInstance } from '../../support/instances.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// The machine of CI has two cores for two files of tests.
vi.setConfig({ testTimeout: 90_000 });

const builtIns = { caches: true, 'cache-invalidate': true, settings: true, 'setting-override': true, 'log-level': true };
let stack: TestStack;
let other: TestServer;
let one: CalledInstance;
let two: CalledInstance;
/** Asks the server that has neither of them. */
let caller: Stafett;
const namespace = freshNamespace();

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_PRIVILEGED_CALLS: 'true' } });
  other = await stack.addServer();
  [one, two] = (await Promise.all([1, 2].map(() => startInstance(stack.server, namespace, { builtIns, inside: true })))) as [
    CalledInstance,
    CalledInstance,
  ];
  caller = await connectClient(other, { namespace });
});

type Params = Record<string, unknown>;

interface Caches {
  caches: {
    name: string;
    size: number;
    keys?: { key: string; tags: string[]; ttlLeftMs: number }[];
    more?: boolean;
    stats: { loads: number };
  }[];
}

interface Readers {
  settings: {
    key: string;
    value: unknown;
    revision: string;
    override: { since: string; until: string | null; insteadOf: unknown } | null;
  }[];
}

function call<T>(instance: CalledInstance, name: string, params: Params = {}, options = {}): Promise<T> {
  return caller.instances.call(instance.id, name, params, options).json<T>();
}

function http(instance: CalledInstance, name: string, query: Record<string, string> = {}, init: RequestInit = {}): Promise<Response> {
  const search = new URLSearchParams({ namespace, ...query });
  return fetch(`http://${other.httpAddress}/v1/instances/${instance.id}/calls/${name}?${search}`, init);
}

function post(body: Params): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function refused(param: string) {
  return { reason: 'CALL_FAILED', metadata: { cause: 'INVALID_PARAMS', param } };
}

describe('the caches of one instance', () => {
  const keys = ['a1', 'a2', 'b1', 'c'];

  /** Which keys it holds, as a caller sees them. */
  async function held(instance: CalledInstance): Promise<string[]> {
    const { caches } = await call<Caches>(instance, 'caches', { cache: 'customers' });
    return caches.flatMap((cache) => cache.keys?.map(({ key }) => key) ?? []).toSorted();
  }

  beforeEach(async () => {
    for (const instance of [one, two]) {
      await eventually('its caches to be confirmed', async () => {
        for (const key of keys) await call(instance, 'customer', { key });
        return (await held(instance)).length === keys.length;
      });
    }
  });

  test('are shown with their figures and limits', async () => {
    const { caches } = await call<Caches>(one, 'caches');
    expect(caches).toEqual([
      expect.objectContaining({ name: 'customers', size: 4, max: 50, ttlMs: 3_600_000, stalenessMs: 5_000, confirmed: true, error: null }),
      expect.objectContaining({ name: 'empty', size: 0, max: 7, ttlMs: null, loading: 0 }),
    ]);
    const loads = caches[0]!.stats.loads;
    const before = (caches[0]!.stats as unknown as { hits: number }).hits;
    await call(one, 'customer', { key: 'a1' });
    const { caches: after } = await call<Caches>(one, 'caches');
    expect(after[0]!.stats).toMatchObject({ loads, hits: before + 1 });
  });

  test('show so many of their keys, and no values', async () => {
    const [cache] = (await call<Caches>(one, 'caches', { cache: 'customers', prefix: 'a', limit: 1 })).caches;
    expect(cache).toMatchObject({ keys: [{ key: expect.stringMatching(/^a/), tags: ['office/2'] }], more: true });
    expect(cache!.keys![0]!.ttlLeftMs).toBeLessThanOrEqual(3_600_000);
    const all = (await (await http(one, 'caches', { cache: 'customers', limit: '100' })).json()) as Caches;
    expect(all.caches[0]).toMatchObject({ more: false });
    expect(JSON.stringify(all)).not.toContain('"load"');
  });

  test.each([
    ['a key', { key: 'a1' }, ['a2', 'b1', 'c']],
    ['several keys', { key: ['a1', 'c', 'nothing'] }, ['a2', 'b1']],
    ['a prefix', { prefix: 'a' }, ['b1', 'c']],
    ['a tag', { tag: 'office/2' }, ['c']],
    ['everything', { all: true }, []],
  ])('lose %s, and those of the other instance do not', async (_, params, left) => {
    const removed = keys.length - left.length;
    expect(await call(one, 'cache-invalidate', { cache: 'customers', ...params })).toEqual({
      cache: 'customers',
      removed,
      size: left.length,
    });
    expect([await held(one), await held(two)]).toEqual([left, keys]);
  });

  test('are not changed by what is wrong', async () => {
    const wrong: [string, Params, string][] = [
      ['caches', { cache: 'nonsense' }, 'cache'],
      ['caches', { cache: 'customers', limit: 0 }, 'limit'],
      ['caches', { cach: 'customers' }, 'cach'],
      ['cache-invalidate', { key: 'a1' }, 'cache'],
      ['cache-invalidate', { cache: 'nonsense', key: 'a1' }, 'cache'],
      ['cache-invalidate', { cache: 'customers' }, 'key'],
      ['cache-invalidate', { cache: 'customers', key: 'a1', all: true }, 'key'],
      ['cache-invalidate', { cache: 'customers', key: 'a1', prefx: 'b' }, 'prefx'],
      ['cache-invalidate', { cache: 'customers', key: 7 }, 'key'],
      ['cache-invalidate', { cache: 'customers', all: 'yes' }, 'all'],
    ];
    for (const [name, params, param] of wrong) await expect(call(one, name, params), param).rejects.toMatchObject(refused(param));
    expect(await held(one)).toEqual(keys);
  });
});

describe('the settings of one instance', () => {
  const override = (params: Params) => call<Readers>(one, 'setting-override', { key: 'mail/size', ...params });
  const size = (instance: CalledInstance) => call(instance, 'size');

  beforeEach(async () => {
    await override({ clear: true });
    await caller.settings.set('mail/size', 200);
    for (const instance of [one, two]) {
      await eventually('the value', async () => ((await size(instance)) as { value: number }).value === 200);
    }
  });

  test('are shown as it sees them', async () => {
    const { revision } = (await caller.settings.get('mail/size'))!;
    expect(await call(one, 'settings')).toEqual({
      settings: [
        { key: 'mail/size', value: 200, default: 100, revision: String(revision), stale: false, error: null, override: null },
        { key: 'mail/on', value: false, default: false, revision: '0', stale: false, error: null, override: null },
      ],
      more: false,
    });
    await caller.settings.set('mail/size', 'many');
    await eventually('the error', async () => {
      const answer = await http(one, 'settings', { prefix: 'mail/s', limit: '1' });
      const { settings } = (await answer.json()) as { settings: { value: unknown; error: string | null }[] };
      return settings.length === 1 && settings[0]!.value === 200 && settings[0]!.error?.includes('mail/size');
    });
  });

  test('can be overridden there alone, until that is taken back', async () => {
    const before = one.stdout().length;
    const [reader] = (await override({ value: 7 })).settings;
    expect(reader).toMatchObject({ value: 7, override: { until: null, insteadOf: 200 } });
    expect([await size(one), await size(two)]).toEqual([
      { value: 7, overridden: true },
      { value: 200, overridden: false },
    ]);
    await caller.settings.set('mail/size', 300);
    await eventually('the other to follow', async () => ((await size(two)) as { value: number }).value === 300);
    await eventually(
      'what is set to be known',
      async () => (await call<Readers>(one, 'settings')).settings[0]!.override!.insteadOf === 300,
    );
    expect(await size(one)).toEqual({ value: 7, overridden: true });
    expect(await call(one, 'size-again')).toBe(7);
    expect((await override({ clear: true })).settings[0]).toMatchObject({ value: 300, override: null });
    expect(await size(one)).toEqual({ value: 300, overridden: false });
    await eventually('its listeners to be told', () => one.stdout().slice(before).includes('size 200 to 7\nsize 7 to 300\n'));
  });

  test('are back by themselves after the time that was given', async () => {
    const [reader] = (await override({ value: 8, ttl: '1s' })).settings;
    const { since, until } = reader!.override!;
    expect(Date.parse(until!) - Date.parse(since)).toBe(1_000);
    await eventually('the end of the override', async () => ((await size(one)) as { value: number }).value === 200, { timeoutMs: 5_000 });
    expect((await call<Readers>(one, 'settings')).settings[0]).toMatchObject({ override: null });
    await override({ value: 9, ttl: '1s' });
    await override({ value: 10 }); // which has no end, though the one before had
    await call(one, 'setting-override', { key: 'mail/on', value: true, ttl: '1s' });
    await eventually('the end of one that began later', async () => (await call<Readers>(one, 'settings')).settings[1]!.override === null);
    expect(await size(one)).toEqual({ value: 10, overridden: true });
  });

  test('are not changed by what is wrong', async () => {
    const wrong: [Params, string][] = [
      [{ key: 'mail/nothing', value: 1 }, 'key'],
      [{ key: undefined, value: 1 }, 'key'],
      [{ value: 'many' }, 'value'],
      [{ value: -1 }, 'value'],
      [{ value: '7' }, 'value'],
      [{}, 'value'],
      [{ value: 1, clear: true }, 'value'],
      [{ value: 1, ttl: 'soon' }, 'ttl'],
      [{ value: 1, ttl: 0 }, 'ttl'],
      [{ value: 1, ttl: '169h' }, 'ttl'],
      [{ value: 1, ttl: {} }, 'ttl'],
      [{ value: 1, tll: '1s' }, 'tll'],
    ];
    for (const [params, param] of wrong) await expect(override(params), JSON.stringify(params)).rejects.toMatchObject(refused(param));
    expect(await size(one)).toEqual({ value: 200, overridden: false });
  });
});

describe('over HTTP', () => {
  test('GET looks and changes nothing', async () => {
    expect(((await (await http(one, 'caches')).json()) as Caches).caches).toHaveLength(2);
    for (const [name, query] of [
      ['cache-invalidate', { cache: 'customers', all: 'true' }],
      ['setting-override', { key: 'mail/on', value: 'true' }],
      ['log-level', { level: 'debug' }],
    ] as const) {
      const answer = await http(one, name, query);
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
      expect(await answer.json()).toMatchObject({ reason: 'CALL_FAILED', metadata: { cause: 'READ_ONLY' } });
    }
    expect(await (await http(one, 'log-level')).json()).toEqual({ level: 'info' });
    await expect(call(one, 'log-level', { level: 'debug' }, { readOnly: true })).rejects.toMatchObject({
      metadata: { cause: 'READ_ONLY' },
    });
    expect((await call<Readers>(one, 'settings', { prefix: 'mail/on' })).settings[0]).toMatchObject({ value: false, override: null });
  });

  test('POST changes that instance', async () => {
    const changed = await http(one, 'setting-override', {}, post({ key: 'mail/on', value: true, ttl: '1h' }));
    expect(await changed.json()).toMatchObject({ settings: [{ value: true, override: { insteadOf: false } }] });
    expect((await call<Readers>(two, 'settings', { prefix: 'mail/on' })).settings[0]).toMatchObject({ value: false });
    expect((await http(one, 'setting-override', { key: 'mail/on', clear: 'true' }, { method: 'POST' })).status).toBe(200);
    expect(await (await http(one, 'log-level', {}, post({ level: 'debug' }))).json()).toEqual({ level: 'debug', before: 'info' });
    expect(await (await http(two, 'log-level')).json()).toEqual({ level: 'info' });
    const wrong = await http(one, 'cache-invalidate', {}, post({ cache: 'customers' }));
    expect(wrong.status).toBe(400);
    expect(await wrong.json()).toMatchObject(refused('key'));
  });
});
