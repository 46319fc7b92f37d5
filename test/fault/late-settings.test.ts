import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { refusal, type StubClient } from '../support/stub-client.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

// Issue 5: a change that a server carries out late, because it stood still or could not reach Redis, does not undo what came after it.

const ENV = { STAFETT_MAX_TTL: '3s' };
const KEY = 'mail/enabled';

let stack: TestStack;
let second: TestServer;
let namespace: string;
let one: StubClient;
let two: StubClient;

beforeAll(async () => {
  stack = await startStack({ env: ENV });
  second = await stack.addServer();
});

beforeEach(async () => {
  namespace = freshNamespace();
  [one, two] = [connectStub(stack.server, namespace), connectStub(second, namespace)];
  await set(one, 'old'); // connected, and known to both
  expect(await value()).toBe('old');
});

type Request = Parameters<StubClient['settings']['setSetting']>[0];

async function set(client: StubClient, text: string, more: Request = {}): Promise<bigint> {
  const { setting } = await client.settings.setSetting({ key: KEY, value: JSON.stringify(text), ...more });
  return setting?.revision ?? 0n;
}

async function value(): Promise<unknown> {
  return JSON.parse((await two.settings.getSetting({ key: KEY })).setting?.value ?? 'null');
}

/** More than a history holds. */
async function othersChange(): Promise<void> {
  for (let i = 0; i < 12; i++) await set(two, `newer ${i}`);
  await set(two, 'newest');
}

const LOSSES: [string, () => Promise<unknown>][] = [
  ['Redis keeps its data', async () => {}],
  ['Redis loses its data', () => stack.redis.client().flushall()],
];

describe.each(LOSSES)('a frozen server, while %s', (_, lose) => {
  test('knows a change that was made elsewhere meanwhile, and later ones after it', async () => {
    stack.server.pause();
    const late = set(one, 'mine', { requestId: 'x' });
    const done = await set(two, 'mine', { requestId: 'x' });
    await othersChange();
    await lose();
    expect(await value()).toBe('newest');
    stack.server.resume();
    expect(await late).toBe(done);
    expect(await value()).toBe('newest');
  });

  test('knows a deletion that was made elsewhere meanwhile', async () => {
    stack.server.pause();
    const late = one.settings.deleteSetting({ key: KEY, requestId: 'x' });
    const done = await two.settings.deleteSetting({ key: KEY, requestId: 'x' });
    await othersChange();
    await lose();
    expect(await value()).toBe('newest');
    stack.server.resume();
    expect(await late).toEqual(done);
    expect(await value()).toBe('newest');
  });

  test('carries out nothing late that was to be done before others changed it', async () => {
    const seen = (await two.settings.getSetting({ key: KEY })).setting?.revision ?? 0n;
    stack.server.pause();
    const late = [
      refusal(set(one, 'mine', { ifUnchangedSince: seen })),
      refusal(one.settings.deleteSetting({ key: KEY, ifUnchangedSince: seen })),
    ];
    await othersChange();
    await lose();
    expect(await value()).toBe('newest');
    stack.server.resume();
    for (const refused of await Promise.all(late)) expect(refused).toMatchObject({ reason: 'SETTING_REVISION_MISMATCH' });
    expect(await value()).toBe('newest');
  });

  test('does not bring back what was deleted meanwhile', async () => {
    await two.settings.deleteSetting({ key: KEY });
    const seen = await set(two, 'other', { key: 'other' });
    stack.server.pause();
    const late = refusal(set(one, 'mine', { ifRevision: 0n, ifUnchangedSince: seen }));
    await set(two, 'newer');
    await two.settings.deleteSetting({ key: KEY });
    await lose();
    stack.server.resume();
    expect(await late).toMatchObject({ reason: 'SETTING_REVISION_MISMATCH', metadata: { revision: '0' } });
    expect(await refusal(two.settings.getSetting({ key: KEY }))).toMatchObject({ reason: 'SETTING_NOT_FOUND' });
  });
});

describe('a caller that has gone', () => {
  test('while its server was frozen changes nothing any more', async () => {
    stack.server.pause();
    const controller = new AbortController();
    const calls = [
      one.settings.setSetting({ key: KEY, value: '"late"' }, { signal: controller.signal }),
      one.settings.deleteSetting({ key: KEY }, { signal: controller.signal }),
    ].map(refusal);
    await nextTurn(); // the requests are on their way before it is told that nobody waits for them
    controller.abort();
    await Promise.all(calls);
    await set(two, 'newest');
    stack.server.resume();
    await set(one, 'other', { key: 'other' }); // after what had come before
    expect(await value()).toBe('newest');
  });
});

describe('a client whose server cannot reach Redis', () => {
  test('is done elsewhere, and what the server had in hand comes to nothing, even if nobody remembers', async () => {
    const toRedis = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
    const slow = await startServer({ redis: `redis://127.0.0.1:${toRedis.port}`, env: ENV });
    const toServer = await startTcpProxy({ port: slow.grpcPort });
    const client = await connectClient([toServer, second], { namespace, ttl: '3s' });
    await client.settings.set('other', 1);
    toRedis.pause('up');
    const mine = client.settings.set(KEY, 'mine');
    await eventually('the request to be with the server', async () => (await setsBegun(slow)) === 2);
    toServer.refuse();
    toServer.cut();
    await mine;
    await othersChange();
    const redis = stack.redis.client();
    expect(await redis.del(await redis.keys(`*${namespace}*:setting-requests`))).toBe(1);
    toRedis.resume('up');
    await set(connectStub(slow, namespace), 'other', { key: 'other' }); // after what it had in hand
    expect(await value()).toBe('newest');
  });
});

async function setsBegun({ httpAddress }: TestServer): Promise<number> {
  const metrics = await (await fetch(`http://${httpAddress}/metrics`)).text();
  return Number(/^grpc_server_started_total\{[^}]*"SetSetting"[^}]*\} (\d+)/m.exec(metrics)?.[1]);
}
