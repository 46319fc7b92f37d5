import type { Redis } from 'ioredis';
import { Status } from 'nice-grpc-common';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SettingServiceDefinition } from '../../../server/src/gen/stafett/v1/setting.js';
import { onCleanup } from '../../support/cleanup.js';
import { RawClient } from '../../support/raw-client.js';
import { startStack, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { StubSettingWatch } from '../../support/stub-settings.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

// Issue 5: bad input is refused with its field, changes nothing, and the server lives on.

const VALUE_BYTES_MAX = 1_048_576;
const SETTINGS_MAX = 12;
const REVISION_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const FLAG = {
  state: 'ENABLED',
  variants: { on: true, off: false },
  defaultVariant: 'on',
  targeting: { if: [{ $ref: 'staff' }, 'on', 'off'] },
};

let server: TestServer;
let redis: Redis;
let raw: RawClient;
let namespace: string;
let client: StubClient;
let revision: bigint;
let before: unknown;

type Method = 'setSetting' | 'getSetting' | 'listSettings' | 'deleteSetting' | 'getSettingHistory' | 'watchSettings';

beforeAll(async () => {
  const stack = await startStack({
    env: { STAFETT_MAX_SETTINGS: `${SETTINGS_MAX}`, STAFETT_MAX_SETTING_BYTES: `${VALUE_BYTES_MAX}` },
  });
  server = stack.server;
  redis = stack.redis.client();
  raw = new RawClient(server.grpcPort);
  onCleanup(() => raw.close());
  namespace = freshNamespace();
  client = connectStub(server, namespace);
  revision = await set('a', 1);
  await set('b', 1);
  await client.settings.deleteSetting({ key: 'b' });
  await set('flags/$evaluators', { staff: { '==': [1, 1] } });
  await set('flags/x', FLAG);
});

beforeEach(async () => {
  before = await state();
});

afterAll(async () => {
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.logs().filter(({ level }) => (level as number) >= 50)).toEqual([]);
});

async function set(key: string, value: unknown, of = client): Promise<bigint> {
  const { setting } = await of.settings.setSetting({ key, value: JSON.stringify(value) });
  return setting?.revision ?? 0n;
}

/** All that Redis has of the settings. */
async function state(): Promise<unknown> {
  const keys = (await redis.keys(`stafett:{${namespace}}:*:setting*`)).sort();
  expect(keys.length).toBeGreaterThan(5);
  return Promise.all(keys.map(async (key) => [key, (await redis.dumpBuffer(key)).toString('base64')]));
}

async function call(method: Method, request: object): Promise<unknown> {
  if (method !== 'watchSettings') return client.settings[method](request);
  throw await new StubSettingWatch(client.settings, request).ended;
}

async function expectRefused(method: Method, request: object, field: string): Promise<void> {
  const refused = await refusal(call(method, request));
  expect(refused).toMatchObject({ code: Status.INVALID_ARGUMENT, reason: 'INVALID_FIELD', metadata: { field } });
  expect(refused.message.length).toBeGreaterThan(10);
  expect(await state()).toEqual(before);
}

const LONG = 'ä'.repeat(129);
const KEYS: [string, string][] = [
  ['empty', ''],
  ['of 258 bytes', LONG],
  ['with U+0000', 'a\0b'],
];

describe.each<Method>(['setSetting', 'getSetting', 'deleteSetting', 'getSettingHistory'])('%s', (method) => {
  test.each(KEYS)('a key that is %s', async (_, key) => {
    await expectRefused(method, { key, value: '1' }, 'key');
  });
});

const CHANGES: [string, object, string][] = [
  ['an if_revision that is too high', { ifRevision: REVISION_MAX + 1n }, 'if_revision'],
  ['the highest number as if_revision', { ifRevision: 2n ** 64n - 1n }, 'if_revision'],
  ['an if_unchanged_since that is too high', { ifUnchangedSince: REVISION_MAX + 1n }, 'if_unchanged_since'],
  ['an author of 258 bytes', { author: LONG }, 'author'],
  ['a request_id with a space', { requestId: 'a b' }, 'request_id'],
  ['a request_id of 65 characters', { requestId: 'x'.repeat(65) }, 'request_id'],
  ['a flag without a key', { key: 'flags/' }, 'key'],
];

describe.each<Method>(['setSetting', 'deleteSetting'])('%s', (method) => {
  test.each(CHANGES)('%s', async (_, wrong, field) => {
    await expectRefused(method, { key: 'a', value: '2', ...wrong }, field);
  });

  test('a revision that it has not, or has no more', async () => {
    for (const wrong of [
      { ifRevision: 0n },
      { ifRevision: revision + 1n },
      { ifRevision: REVISION_MAX },
      { ifUnchangedSince: revision - 1n },
    ]) {
      const refused = await refusal(call(method, { key: 'a', value: '2', ...wrong }));
      expect(refused).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'SETTING_REVISION_MISMATCH' });
      expect(refused.metadata).toEqual({ key: 'a', revision: `${revision}`, change_revision: `${revision}` });
    }
    expect(await state()).toEqual(before);
  });
});

const VALUES: [string, string][] = [
  ['empty', ''],
  ['blank', ' '],
  ['half a text', '{"a":1'],
  ['of JavaScript', '{a:1}'],
  ['no JSON number', 'NaN'],
  ['two texts', '1 2'],
  ['a byte too long', JSON.stringify('x'.repeat(VALUE_BYTES_MAX - 1))],
  ['too long in UTF-8', JSON.stringify('ä'.repeat(VALUE_BYTES_MAX / 2))],
];

describe('a value that is', () => {
  test.each(VALUES)('%s', async (_, value) => {
    await expectRefused('setSetting', { key: 'a', value }, 'value');
  });
});

const FLAGS: [string, string, unknown][] = [
  ['no object', 'x', [FLAG]],
  ['without variants', 'x', { ...FLAG, variants: undefined }],
  ['of an unknown state', 'x', { ...FLAG, state: 'MAYBE' }],
  ['whose default is no variant', 'x', { ...FLAG, defaultVariant: 'nowhere' }],
  ['with variants of two types', 'x', { ...FLAG, variants: { on: 1, off: 'no' } }],
  ['with an unknown rule', 'x', { ...FLAG, targeting: { explode: [1] } }],
  ['with a reference to nothing', 'x', { ...FLAG, targeting: { $ref: 'missing' } }],
  ['that would take away a rule that is used', '$evaluators', { other: { '==': [1, 1] } }],
  ['with metadata that is none', '$metadata', 1],
];

describe('a flag', () => {
  test.each(FLAGS)('%s', async (_, key, flag) => {
    await expectRefused('setSetting', { key: `flags/${key}`, value: JSON.stringify(flag) }, 'value');
  });

  test('whose rules are still used is not deleted', async () => {
    await expectRefused('deleteSetting', { key: 'flags/$evaluators' }, 'key');
  });
});

const READS: [Method, string, object, string][] = [
  ['listSettings', 'a prefix of 258 bytes', { prefix: LONG }, 'prefix'],
  ['listSettings', 'a negative page_size', { pageSize: -1 }, 'page_size'],
  ['listSettings', 'a page_token that is none', { pageToken: '!!!' }, 'page_token'],
  ['watchSettings', 'a prefix of 258 bytes', { prefix: LONG }, 'prefix'],
  ['watchSettings', 'a from_revision that is too high', { fromRevision: REVISION_MAX + 1n }, 'from_revision'],
];

describe('reading', () => {
  test.each(READS)('%s: %s', async (method, _, request, field) => {
    await expectRefused(method, request, field);
  });

  test('from a revision of the future, of long ago, or that never was', async () => {
    for (const fromRevision of [REVISION_MAX, 1n, revision + 1n]) {
      expect(await refusal(call('watchSettings', { fromRevision }))).toMatchObject({
        code: Status.OUT_OF_RANGE,
        reason: 'REVISION_UNAVAILABLE',
        metadata: { oldest_revision: expect.stringMatching(/^\d+$/), latest_revision: expect.stringMatching(/^\d{16}$/) },
      });
    }
    expect(await state()).toEqual(before);
  });

  test('what is not there', async () => {
    expect(await refusal(call('getSetting', { key: 'nothing' }))).toMatchObject({
      code: Status.NOT_FOUND,
      reason: 'SETTING_NOT_FOUND',
      metadata: { key: 'nothing' },
    });
    expect(await call('deleteSetting', { key: 'nothing' })).toEqual({ revision: 0n });
    expect(await state()).toEqual(before);
  });
});

describe('bytes that are no request', () => {
  const methods = Object.entries(SettingServiceDefinition.methods);

  test.each(methods)('%s', async (_, { name, responseStream }) => {
    const path = `/stafett.v1.SettingService/${name}`;
    // A field 1 that is longer than the message; one that is no UTF-8.
    for (const bytes of [Buffer.from([0x0a, 0x7f, 0x61]), Buffer.from([0x0a, 0x02, 0xc3, 0x28])]) {
      const metadata = { 'stafett-namespace': namespace };
      const answer = await (responseStream ? raw.serverStream(path, bytes, () => {}) : raw.unary(path, bytes, metadata));
      expect([answer.code, answer.info?.metadata]).toEqual([Status.INVALID_ARGUMENT, { field: 'request' }]);
    }
    expect(await state()).toEqual(before);
  });
});

describe('TOO_MANY_SETTINGS', () => {
  const expected = { code: Status.RESOURCE_EXHAUSTED, reason: 'TOO_MANY_SETTINGS', retryDelayMs: expect.any(Number) };

  test('is told when there are as many as there may be; those that are there can be changed', async () => {
    const own = connectStub(server, freshNamespace());
    for (let i = 0; i < SETTINGS_MAX; i++) await set(`${i}`, i, own);
    const refused = await refusal(set('one more', 1, own));
    expect(refused).toMatchObject(expected);
    expect(refused.message).toMatch(/12 settings \(STAFETT_MAX_SETTINGS\)/);
    await set('0', 'changed', own);
    const { settings } = await own.settings.listSettings({});
    expect(settings.map(({ key }) => key).sort()).toEqual(Array.from({ length: SETTINGS_MAX }, (_, i) => `${i}`).sort());
    await own.settings.deleteSetting({ key: '0' });
    await set('one more', 1, own);
  });

  test('is told at 8 MiB, also to a setting that grows, but not to one that shrinks', async () => {
    const own = connectStub(server, freshNamespace());
    const text = (bytes: number) => 'x'.repeat(bytes - 2); // and two quotes
    for (let i = 0; i < 7; i++) await set(`${i}`, text(VALUE_BYTES_MAX), own);
    await set('7', text(VALUE_BYTES_MAX - 100), own);
    for (const key of ['7', 'one more']) expect(await refusal(set(key, text(VALUE_BYTES_MAX), own))).toMatchObject(expected);
    expect((await own.settings.getSetting({ key: '7' })).setting?.value.length).toBe(VALUE_BYTES_MAX - 100);
    await set('6', 1, own);
    await set('7', text(VALUE_BYTES_MAX), own);
  });
});
