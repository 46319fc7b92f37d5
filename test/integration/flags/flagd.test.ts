import { createChannel, createClientFactory } from 'nice-grpc';
import { Metadata, Status } from 'nice-grpc-common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServiceDefinition as V1 } from '../../../server/src/gen/flagd/evaluation/v1/evaluation.js';
import { ServiceDefinition as V2 } from '../../../server/src/gen/flagd/evaluation/v2/evaluation.js';
import { FlagSyncServiceDefinition } from '../../../server/src/gen/flagd/sync/v1/sync.js';
import { eventually } from '../../support/eventually.js';
import { startServer, type TestServer } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { stubErrors } from '../../support/stub-error.js';
import { connectStub } from '../../support/stub-stack.js';

// What flagd's own tests of a provider do not reach: the older version, all flags at once, wrong flags.

const BOOLEANS = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'on' };

let server: TestServer;
let admin: StubClient;
let channel: ReturnType<typeof createChannel>;

beforeAll(async () => {
  server = await startServer();
  admin = connectStub(server);
  channel = createChannel(server.address);
  await setFlag('bool', BOOLEANS);
  await setFlag('int', {
    state: 'ENABLED',
    variants: { a: 7, b: 1.5 },
    defaultVariant: 'a',
    targeting: { if: [{ var: 'half' }, 'b', 'a'] },
  });
  await setFlag('undecided', { state: 'ENABLED', variants: { a: 'A' }, defaultVariant: null });
  await setFlag('disabled', { ...BOOLEANS, state: 'DISABLED' });
  await setFlag('wrong-variant', { ...BOOLEANS, targeting: { if: [{ var: 'x' }, 'nowhere', 'on'] } });
  await setFlag('object', { state: 'ENABLED', variants: { x: { y: 1 } }, defaultVariant: 'x' });
  await setFlag('$metadata', { owner: 'tax' });
});

afterAll(async () => {
  channel.close();
  expect(server.logs().filter(({ level }) => (level as number) >= 50)).toEqual([]);
});

async function setFlag(key: string, flag: unknown): Promise<void> {
  await admin.settings.setSetting({ key: `flags/${key}`, value: JSON.stringify(flag) });
}

function clients(metadata: Record<string, string> = {}) {
  const factory = createClientFactory().use(stubErrors);
  const options = { '*': { metadata: new Metadata(metadata) } };
  return {
    v1: factory.create(V1, channel, options),
    v2: factory.create(V2, channel, options),
    sync: factory.create(FlagSyncServiceDefinition, channel, options),
  };
}

describe('flagd.evaluation', () => {
  test('v1 has a value for everything, or an error', async () => {
    const { v1 } = clients();
    expect(await v1.resolveBoolean({ flagKey: 'bool' })).toMatchObject({
      value: true,
      variant: 'on',
      reason: 'STATIC',
      metadata: { owner: 'tax' },
    });
    expect(await v1.resolveInt({ flagKey: 'int' })).toMatchObject({ value: 7n, reason: 'TARGETING_MATCH' });
    expect(await v1.resolveObject({ flagKey: 'object' })).toMatchObject({ value: { y: 1 } });
    expect(await v1.resolveString({ flagKey: 'undecided' })).toMatchObject({ value: '', variant: '', reason: 'DEFAULT' });
    expect(await refusal(v1.resolveBoolean({ flagKey: 'disabled' }))).toMatchObject({ code: Status.NOT_FOUND, reason: 'FLAG_DISABLED' });
  });

  test('v2 leaves out what there is not', async () => {
    const { v2 } = clients();
    expect(await v2.resolveString({ flagKey: 'undecided' })).toMatchObject({ value: undefined, variant: undefined, reason: 'DEFAULT' });
    expect(await v2.resolveBoolean({ flagKey: 'disabled' })).toMatchObject({ value: undefined, reason: 'DISABLED' });
  });

  test.each(['v1', 'v2'] as const)('%s: errors have the status that providers expect', async (version) => {
    const client = clients()[version];
    expect(await refusal(client.resolveBoolean({ flagKey: 'nothing' }))).toMatchObject({
      code: Status.NOT_FOUND,
      reason: 'FLAG_NOT_FOUND',
    });
    expect(await refusal(client.resolveString({ flagKey: 'bool' }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      reason: 'FLAG_TYPE_MISMATCH',
      metadata: { key: 'bool' },
    });
    const half = { flagKey: 'int', context: { half: true } };
    expect(await client.resolveFloat(half)).toMatchObject({ value: 1.5 });
    expect(await refusal(client.resolveInt(half))).toMatchObject({ reason: 'FLAG_TYPE_MISMATCH' });
    const broken = client.resolveBoolean({ flagKey: 'wrong-variant', context: { x: 1 } });
    expect(await refusal(broken)).toMatchObject({ code: Status.DATA_LOSS, reason: 'FLAG_BROKEN' });
  });

  test.each(['v1', 'v2'] as const)('%s: all flags that are enabled and have a value', async (version) => {
    const { flags, metadata } = await clients()[version].resolveAll({ context: { half: true } });
    expect(Object.keys(flags).sort()).toEqual(['bool', 'int', 'object', 'wrong-variant']);
    expect(flags.int).toMatchObject({ value: { $case: 'doubleValue', value: 1.5 }, variant: 'b' });
    expect(metadata).toEqual({ owner: 'tax' });
  });

  test('a namespace by selector or by our own metadata, and none that is none', async () => {
    const ways: Record<string, string>[] = [
      { 'flagd-selector': 'empty' },
      { 'flagd-selector': 'namespace=empty' },
      { 'stafett-namespace': 'empty' },
    ];
    for (const metadata of ways) {
      expect(await refusal(clients(metadata).v2.resolveBoolean({ flagKey: 'bool' }))).toMatchObject({ reason: 'FLAG_NOT_FOUND' });
    }
    const wrong = clients({ 'flagd-selector': 'source=a,b' }).v2.resolveBoolean({ flagKey: 'bool' });
    expect(await refusal(wrong)).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'flagd-selector' } });
  });
});

describe('flagd.sync', () => {
  test('tells the whole set, at once and after each change', async () => {
    const { sync } = clients();
    const told: string[] = [];
    const controller = new AbortController();
    const reading = (async () => {
      for await (const { flagConfiguration } of sync.syncFlags({}, { signal: controller.signal })) told.push(flagConfiguration);
    })().catch(() => {});
    await eventually('the set', () => told.length === 1);
    expect(JSON.parse(told[0] as string)).toMatchObject({ flags: { bool: BOOLEANS }, metadata: { owner: 'tax' } });
    expect((await sync.fetchAllFlags({})).flagConfiguration).toEqual(told[0]);
    await setFlag('bool', { ...BOOLEANS, defaultVariant: 'off' });
    await eventually('the change', () => told.length === 2);
    expect(JSON.parse(told[1] as string).flags.bool.defaultVariant).toBe('off');
    await setFlag('bool', BOOLEANS);
    controller.abort();
    await reading;
    expect(await sync.getMetadata({})).toEqual({ metadata: {} });
  });
});

const WRONG: [string, string, unknown][] = [
  ['no object', 'x', true],
  ['no variants', 'x', { state: 'ENABLED', defaultVariant: 'on' }],
  ['an unknown state', 'x', { ...BOOLEANS, state: 'MAYBE' }],
  ['a default variant that is none', 'x', { ...BOOLEANS, defaultVariant: 'nowhere' }],
  ['variants of different types', 'x', { ...BOOLEANS, variants: { on: true, off: 'no' } }],
  ['an unknown rule', 'x', { ...BOOLEANS, targeting: { explode: [1] } }],
  ['a rule that nobody has defined', 'x', { ...BOOLEANS, targeting: { $ref: 'missing' } }],
  ['no key', '', BOOLEANS],
  ['rules that are none', '$evaluators', { staff: { explode: [1] } }],
  ['metadata that is no object', '$metadata', 'text'],
];

describe('a flag that is wrong', () => {
  test.each(WRONG)('%s', async (_, key, flag) => {
    const { settings: before } = await admin.settings.listSettings({});
    const refused = await refusal(setFlag(key, flag));
    expect(refused).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      reason: 'INVALID_FIELD',
      metadata: { field: key === '' ? 'key' : 'value' },
    });
    expect(refused.message.length).toBeGreaterThan(20);
    expect((await admin.settings.listSettings({})).settings).toEqual(before);
  });

  test('rules that are in use are not deleted', async () => {
    await setFlag('$evaluators', { yes: { '==': [1, 1] } });
    await setFlag('user', { ...BOOLEANS, targeting: { if: [{ $ref: 'yes' }, 'on', 'off'] } });
    const refused = await refusal(admin.settings.deleteSetting({ key: 'flags/$evaluators' }));
    expect(refused).toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'key' } });
    await admin.settings.deleteSetting({ key: 'flags/user' });
    await admin.settings.deleteSetting({ key: 'flags/$evaluators' });
  });
});
