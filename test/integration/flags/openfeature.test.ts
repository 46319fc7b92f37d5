import { FlagdProvider } from '@openfeature/flagd-provider';
import { type Client, OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import type { StubClient } from '../../support/stub-client.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

// Issue 5: OpenFeature's own provider for flagd, unchanged, evaluates and gets change events from a running Stafett.

const BOOLEANS = { state: 'ENABLED', variants: { on: true, off: false } };

let stack: TestStack;
let second: TestServer;
let namespace: string;
let admin: StubClient;
let domains = 0;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_FLAGD_NAMESPACE: 'flags' } });
  second = await stack.addServer();
});

type Options = ConstructorParameters<typeof FlagdProvider>[0];

/** OpenFeature, with the provider as it comes. */
async function openFeature(options: Options): Promise<Client> {
  const domain = `domain-${domains++}`;
  const provider = new FlagdProvider({ host: '127.0.0.1', port: second.grpcPort, deadlineMs: 5_000, retryBackoffMaxMs: 300, ...options });
  onCleanup(() => provider.onClose());
  await OpenFeature.setProviderAndWait(domain, provider);
  return OpenFeature.getClient(domain);
}

async function setFlag(key: string, flag: unknown): Promise<void> {
  await admin.settings.setSetting({ key: `flags/${key}`, value: JSON.stringify(flag) });
}

function changesOf(client: Client): string[] {
  const changed: string[] = [];
  client.addHandler(ProviderEvents.ConfigurationChanged, (details) => void changed.push(...(details?.flagsChanged ?? [])));
  return changed;
}

const RESOLVERS: [string, Options][] = [
  ['rpc', { resolverType: 'rpc' }],
  ['in-process', { resolverType: 'in-process' }],
];

describe.each(RESOLVERS)('the provider for flagd, %s', (kind, options) => {
  let client: Client;
  let key: (name: string) => string;

  beforeEach(async () => {
    namespace = 'flags';
    admin = connectStub(stack.server, namespace);
    const own = freshNamespace();
    key = (name) => `${own}-${name}`;
  });

  test('evaluates flags of each type, with targeting rules', async () => {
    await setFlag(key('bool'), { ...BOOLEANS, defaultVariant: 'on' });
    await setFlag(key('string'), { state: 'ENABLED', variants: { a: 'A', b: 'B' }, defaultVariant: 'a', metadata: { team: 'tax' } });
    await setFlag(key('number'), { state: 'ENABLED', variants: { few: 1.5, many: 100 }, defaultVariant: 'few' });
    await setFlag(key('object'), { state: 'ENABLED', variants: { x: { deep: [1, { y: null }] } }, defaultVariant: 'x' });
    await setFlag(key('targeted'), {
      ...BOOLEANS,
      defaultVariant: 'off',
      targeting: { if: [{ ends_with: [{ var: 'email' }, '@tax.example'] }, 'on', null] },
    });
    await setFlag(key('split'), {
      state: 'ENABLED',
      variants: { red: 'red', blue: 'blue' },
      defaultVariant: 'red',
      targeting: { fractional: [{ cat: [{ var: '$flagd.flagKey' }, { var: 'targetingKey' }] }, ['red', 50], ['blue', 50]] },
    });
    await setFlag(key('disabled'), { ...BOOLEANS, state: 'DISABLED', defaultVariant: 'on' });
    client = await openFeature(options);
    await eventually(
      'the last of them to be there',
      async () => (await client.getBooleanDetails(key('disabled'), false)).errorCode === undefined,
    );
    expect(await client.getBooleanDetails(key('bool'), false)).toMatchObject({ value: true, variant: 'on', reason: 'STATIC' });
    expect(await client.getStringDetails(key('string'), '')).toMatchObject({ value: 'A', flagMetadata: { team: 'tax' } });
    expect(await client.getNumberValue(key('number'), 0)).toBe(1.5);
    expect(await client.getObjectValue(key('object'), {})).toEqual({ deep: [1, { y: null }] });
    expect(await client.getBooleanDetails(key('targeted'), true, { email: 'kari@tax.example' })).toMatchObject({
      value: true,
      reason: 'TARGETING_MATCH',
    });
    expect(await client.getBooleanDetails(key('targeted'), true, { email: 'ola@else.example' })).toMatchObject({
      value: false,
      reason: 'DEFAULT',
    });
    const colours = await Promise.all(
      Array.from({ length: 40 }, (_, i) => client.getStringValue(key('split'), '', { targetingKey: `user-${i}` })),
    );
    expect(new Set(colours)).toEqual(new Set(['red', 'blue']));
    expect(await client.getBooleanDetails(key('disabled'), true)).toMatchObject({ value: true, reason: 'DISABLED' });
    expect(await client.getBooleanDetails(key('missing'), true)).toMatchObject({ value: true, errorCode: 'FLAG_NOT_FOUND' });
    expect(await client.getStringDetails(key('targeted'), 'x')).toMatchObject({ value: 'x', errorCode: 'TYPE_MISMATCH' });
  });

  test('is told of changes, and evaluates what is new', async () => {
    await setFlag(key('bool'), { ...BOOLEANS, defaultVariant: 'off' });
    client = await openFeature(options);
    await eventually('the flag', async () => (await client.getBooleanDetails(key('bool'), true)).value === false);
    const changed = changesOf(client);
    await setFlag(key('bool'), { ...BOOLEANS, defaultVariant: 'on' });
    await eventually('the event', () => changed.includes(key('bool')));
    expect(await client.getBooleanValue(key('bool'), false)).toBe(true);
    changed.length = 0;
    await admin.settings.deleteSetting({ key: `flags/${key('bool')}` });
    await eventually('the event of the deletion', () => changed.includes(key('bool')));
    expect(await client.getBooleanDetails(key('bool'), true)).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
  });

  test('shares rules between flags', async () => {
    const evaluators = { [key('staff')]: { in: ['@tax.example', { var: 'email' }] } };
    await setFlag('$evaluators', evaluators);
    await setFlag(key('shared'), { ...BOOLEANS, defaultVariant: 'off', targeting: { if: [{ $ref: key('staff') }, 'on', 'off'] } });
    client = await openFeature(options);
    const ask = () => client.getBooleanValue(key('shared'), false, { email: 'kari@tax.example' });
    await eventually('the flag to be on', ask);
    await admin.settings.deleteSetting({ key: `flags/${key('shared')}` });
    await admin.settings.deleteSetting({ key: 'flags/$evaluators' });
  });

  test('sees the namespace that its selector names', async () => {
    namespace = freshNamespace();
    admin = connectStub(stack.server, namespace);
    await setFlag('mine', { ...BOOLEANS, defaultVariant: 'off' });
    client = await openFeature({ ...options, selector: kind === 'rpc' ? namespace : `namespace=${namespace}` });
    await eventually('the flag', async () => (await client.getBooleanDetails('mine', true)).value === false);
    await setFlag('mine', { ...BOOLEANS, defaultVariant: 'on' });
    // Also of the resolver that is not told of changes there: it must not keep what it got.
    await eventually('the change', () => client.getBooleanValue('mine', false));
  });

  test('goes on when its server is away for a while', async () => {
    const server = await stack.addServer();
    await setFlag(key('bool'), { ...BOOLEANS, defaultVariant: 'off' });
    client = await openFeature({ ...options, port: server.grpcPort });
    await eventually('the flag', async () => (await client.getBooleanDetails(key('bool'), true)).value === false);
    await server.kill();
    await setFlag(key('bool'), { ...BOOLEANS, defaultVariant: 'on' });
    await stack.addServer({ grpcPort: server.grpcPort });
    await eventually('the change', async () => (await client.getBooleanDetails(key('bool'), false)).value, { timeoutMs: 20_000 });
  });
});
