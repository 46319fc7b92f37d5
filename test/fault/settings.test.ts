import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { runServer } from '../support/server-checks.js';
import { startServer, startStack, type TestServer } from '../support/stack.js';
import { refusal, type StubClient } from '../support/stub-client.js';
import { StubSettingWatch } from '../support/stub-settings.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

// Issue 5: settings survive the loss of Redis' data as long as one server lives, and with files even without one.

const ENV = { STAFETT_MAX_TTL: '3s' };

let namespace: string;

beforeEach(() => {
  namespace = freshNamespace();
});

async function set(client: StubClient, key: string, value: unknown): Promise<bigint> {
  const { setting } = await client.settings.setSetting({ key, value: JSON.stringify(value) });
  return setting?.revision ?? 0n;
}

async function all({ settings }: StubClient): Promise<Record<string, unknown>> {
  const { settings: list } = await settings.listSettings({});
  return Object.fromEntries(list.map(({ key, value }) => [key, JSON.parse(value)]));
}

const LOSSES: [string, (redis: TestRedis) => Promise<unknown>][] = [
  ['is killed and starts empty', (redis) => redis.kill().then(() => redis.start())],
  ['is flushed', (redis) => redis.client().flushall()],
];

describe.each(LOSSES)('when Redis %s', (_, lose) => {
  test('settings, deletions and revisions are back, and watches go on', async () => {
    const stack = await startStack({ env: ENV });
    const second = await stack.addServer();
    const [one, two] = [connectStub(stack.server, namespace), connectStub(second, namespace)];
    await set(one, 'kept', 1);
    const old = await set(two, 'changed', 1);
    await set(one, 'deleted', 1);
    await set(two, 'changed', 2);
    await one.settings.deleteSetting({ key: 'deleted' });
    const watch = new StubSettingWatch(two.settings);
    await eventually('the snapshot', () => watch.snapshot.length === 2);
    await lose(stack.redis);
    expect(await all(two)).toEqual({ kept: 1, changed: 2 });
    expect(await all(one)).toEqual({ kept: 1, changed: 2 });
    const next = await set(one, 'new', 3);
    expect(next).toBeGreaterThan(watch.messages[0]?.revision ?? next);
    expect(await refusal(one.settings.setSetting({ key: 'changed', value: '0', ifRevision: old }))).toMatchObject({
      reason: 'SETTING_REVISION_MISMATCH',
    });
    await eventually('the watch to go on', () => watch.changes.length > 0);
    expect(watch.changes).toEqual([['new', 3]]);
    // Where it was before the loss is still known to those who were there.
    const resumed = new StubSettingWatch(one.settings, { fromRevision: watch.messages[0]?.revision ?? 0n });
    await eventually('the change to be told', () => resumed.changes.length === 1);
  });
});

describe('the last server that knows', () => {
  test('need not have been asked for the namespace', async () => {
    const stack = await startStack({ env: ENV });
    const second = await stack.addServer();
    await set(connectStub(stack.server, namespace), 'a', 1);
    await stack.server.kill();
    await stack.redis.client().flushall();
    expect(await all(connectStub(second, namespace))).toEqual({ a: 1 });
  });

  test('is waited for by one that knows nothing', async () => {
    const redis = await startRedis();
    const away = await startTcpProxy({ host: redis.host, port: redis.port });
    const knows = await startServer({ redis: `redis://127.0.0.1:${away.port}`, env: ENV });
    await set(connectStub(knows, namespace), 'a', 1);
    away.refuse();
    away.cut();
    await redis.client().flushall();
    const fresh = await startServer({ redis, env: { ...ENV, STAFETT_REDIS_IS_NEW: 'false' } });
    const asked = all(connectStub(fresh, namespace));
    await eventually('the new epoch', () => fresh.logs().some(({ msg }) => msg.includes('a new epoch begins')));
    await away.accept();
    expect(await asked).toEqual({ a: 1 });
  });

  test('prevails over one that has missed something', async () => {
    const redis = await startRedis();
    const proxy = await startTcpProxy({ host: redis.host, port: redis.port });
    const behind = await startServer({ redis: `redis://127.0.0.1:${proxy.port}`, env: ENV });
    const ahead = await startServer({ redis, env: ENV });
    const [one, two] = [connectStub(behind, namespace), connectStub(ahead, namespace)];
    await set(one, 'a', 1);
    await set(one, 'b', 1);
    proxy.refuse();
    proxy.cut();
    await set(two, 'a', 2);
    await two.settings.deleteSetting({ key: 'b' });
    ahead.pause();
    await redis.client().flushall();
    await proxy.accept();
    await eventually('the one that is behind to say what it knows', async () => (await all(one)).a === 1);
    ahead.resume();
    await eventually('the one that is ahead to say what it knows', async () => {
      const [seen, alsoSeen] = [await all(one), await all(two)];
      return seen.a === 2 && !('b' in seen) && alsoSeen.a === 2 && !('b' in alsoSeen);
    });
  });
});

describe('a Redis with a disk', () => {
  test('brings the settings back by itself', async () => {
    const redis = await startRedis({ kind: 'private', args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const before = await startServer({ redis, env: ENV });
    await set(connectStub(before, namespace), 'a', 1);
    await before.kill();
    await redis.kill();
    await redis.start();
    const after = await startServer({ redis, env: ENV });
    const client = connectStub(after, namespace);
    expect(await all(client)).toEqual({ a: 1 });
    expect((await client.settings.getSettingHistory({ key: 'a' })).changes).toHaveLength(1);
  });
});

describe('STAFETT_SETTINGS_DIR', () => {
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'stafett-settings-'));
    onCleanup(() => rm(dir, { recursive: true, force: true }));
  });

  async function saved(): Promise<void> {
    await eventually('the file', async () => (await readdir(dir)).includes(`${namespace}.json`));
  }

  test('brings the settings back when everything was restarted', async () => {
    const env = { STAFETT_SETTINGS_DIR: dir };
    const before = await startServer({ env });
    const client = connectStub(before, namespace);
    await set(client, 'a', { x: 1 });
    const last = await set(client, 'b', 'text');
    await before.stop(); // with its Redis
    await saved();
    const after = connectStub(await startServer({ env }), namespace);
    expect(await all(after)).toEqual({ a: { x: 1 }, b: 'text' });
    expect(await set(after, 'a', 2)).toBeGreaterThan(last);
  });

  test('what was changed before the files came is not undone by them', async () => {
    const redis = await startRedis();
    const env = { ...ENV, STAFETT_SETTINGS_DIR: dir };
    const before = await startServer({ redis, env });
    await set(connectStub(before, namespace), 'a', 'old');
    await set(connectStub(before, namespace), 'b', 'old');
    await saved();
    await before.stop();
    await redis.kill();
    await redis.start();
    const other = await startServer({ redis }); // the Redis is new, it is told
    await set(connectStub(other, namespace), 'a', 'new');
    const after = await startServer({ redis, env });
    expect(await all(connectStub(after, namespace))).toEqual({ a: 'new' });
  });

  test('a server that dies writes its changes all the same, and never half of them', async () => {
    const server: TestServer = await startServer({ env: { STAFETT_SETTINGS_DIR: dir } });
    const client = connectStub(server, namespace);
    for (let i = 0; i < 50; i++) await set(client, `key/${i}`, 'x'.repeat(1_000));
    await saved();
    await server.kill();
    const after = connectStub(await startServer({ env: { STAFETT_SETTINGS_DIR: dir } }), namespace);
    expect(Object.keys(await all(after)).length).toBeGreaterThan(0);
  });

  test('a directory or a file that is of no use is told, and the server does not start', async () => {
    const start = (settingsDir: string) => runServer([], { STAFETT_SETTINGS_DIR: settingsDir, STAFETT_GRPC_ADDRESS: '127.0.0.1:0' });
    expect((await start(join(dir, 'missing'))).stderr).toMatch(/STAFETT_SETTINGS_DIR .*missing cannot be read/);
    await writeFile(join(dir, 'default.json'), '{"version":1');
    const { code, stderr } = await start(dir);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/default\.json is no snapshot of settings/)]);
  });
});
