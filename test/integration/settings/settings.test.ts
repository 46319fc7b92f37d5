import { Status } from 'nice-grpc-common';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { setUnheard } from '../../support/lost-hints.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { refusal, type StubClient } from '../../support/stub-client.js';
import { StubSettingWatch } from '../../support/stub-settings.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';

let stack: TestStack;
let second: TestServer;
let namespace: string;
let one: StubClient;
let two: StubClient;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_SETTINGS: '50', STAFETT_MAX_SETTING_BYTES: '2000' } });
  second = await stack.addServer();
});

beforeEach(() => {
  namespace = freshNamespace();
  one = connectStub(stack.server, namespace);
  two = connectStub(second, namespace);
});

async function set(client: StubClient, key: string, value: unknown, more: Parameters<StubClient['settings']['setSetting']>[0] = {}) {
  const { setting } = await client.settings.setSetting({ key, value: JSON.stringify(value), ...more });
  if (!setting) throw new Error('a SetSettingResponse without a setting');
  return setting;
}

describe('SetSetting', () => {
  test('what is set is there at once, on every server', async () => {
    const setting = await set(one, 'mail/enabled', true, { author: 'Kari' });
    expect(setting).toMatchObject({ key: 'mail/enabled', value: 'true', author: 'Kari' });
    expect((await two.settings.getSetting({ key: 'mail/enabled' })).setting).toEqual(setting);
    expect(Math.abs(Number(setting.updateTime?.seconds) - Date.now() / 1000)).toBeLessThan(10);
    const next = await set(two, 'mail/enabled', { a: [1, null, 'x'] });
    expect(next.revision).toBeGreaterThan(setting.revision);
    expect((await one.settings.getSetting({ key: 'mail/enabled' })).setting?.value).toBe('{"a":[1,null,"x"]}');
    expect(next.author).toMatch(/^127\.0\.0\.1/);
  });

  test('only at the revision that is expected', async () => {
    const first = await set(one, 'a', 1, { ifRevision: 0n });
    const refused = await refusal(set(one, 'a', 2, { ifRevision: 0n }));
    expect(refused).toMatchObject({ code: Status.FAILED_PRECONDITION, reason: 'SETTING_REVISION_MISMATCH' });
    const present = String(first.revision);
    expect(refused.metadata).toEqual({ key: 'a', revision: present, change_revision: present });
    const second = await set(two, 'a', 3, { ifRevision: first.revision });
    await refusal(set(one, 'a', 4, { ifRevision: first.revision }));
    expect((await one.settings.getSetting({ key: 'a' })).setting).toEqual(second);
  });

  test('of many who read and add, nobody is overwritten', async () => {
    await set(one, 'count', 0);
    const add = async (client: StubClient) => {
      for (let tries = 0; ; tries++) {
        const { setting } = await client.settings.getSetting({ key: 'count' });
        try {
          await set(client, 'count', Number(setting?.value) + 1, { ifRevision: setting?.revision ?? 0n });
          return tries;
        } catch (error) {
          expect(error).toMatchObject({ reason: 'SETTING_REVISION_MISMATCH' });
        }
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => add(i % 2 ? one : two)));
    expect((await one.settings.getSetting({ key: 'count' })).setting?.value).toBe('20');
  });

  test('asked again under the same id is one change', async () => {
    const first = await set(one, 'a', 1, { ifRevision: 0n, requestId: 'x' });
    await set(one, 'a', 2);
    expect(await set(two, 'a', 1, { ifRevision: 0n, requestId: 'x' })).toMatchObject({ revision: first.revision });
    expect((await one.settings.getSetting({ key: 'a' })).setting?.value).toBe('2');
  });
});

describe('DeleteSetting', () => {
  test('deletes, and is fine with nothing', async () => {
    const { revision } = await set(one, 'a', 1);
    expect(await refusal(two.settings.deleteSetting({ key: 'a', ifRevision: revision - 1n }))).toMatchObject({
      reason: 'SETTING_REVISION_MISMATCH',
    });
    const request = { key: 'a', ifRevision: revision, requestId: 'x' };
    const deleted = await two.settings.deleteSetting(request);
    expect(deleted.revision).toBeGreaterThan(revision);
    expect(await one.settings.deleteSetting(request)).toEqual(deleted);
    expect(await one.settings.deleteSetting({ key: 'a' })).toEqual({ revision: 0n });
    expect(await refusal(one.settings.getSetting({ key: 'a' }))).toMatchObject({ code: Status.NOT_FOUND, reason: 'SETTING_NOT_FOUND' });
    expect((await set(one, 'a', 2, { ifRevision: 0n })).revision).toBeGreaterThan(deleted.revision);
  });
});

describe('GetSettingHistory', () => {
  test('who changed what, when, latest first, the last ten', async () => {
    for (let i = 0; i < 12; i++) await set(i % 2 ? one : two, 'a', i, { author: `author-${i}` });
    await one.settings.deleteSetting({ key: 'a', author: 'eraser' });
    const { changes } = await two.settings.getSettingHistory({ key: 'a' });
    expect(changes).toHaveLength(10);
    expect(changes[0]).toMatchObject({ deleted: true, setting: { author: 'eraser', value: '' } });
    expect(changes.slice(1).map(({ setting }) => setting?.value)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3].map(String));
    expect(changes.slice(1).map(({ setting }) => setting?.author)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3].map((i) => `author-${i}`));
  });

  test('a long value is told to be left out', async () => {
    await set(one, 'a', 'x'.repeat(1_100));
    const { changes } = await one.settings.getSettingHistory({ key: 'a' });
    expect(changes).toMatchObject([{ valueOmitted: true, deleted: false, setting: { value: '' } }]);
    expect(await one.settings.getSettingHistory({ key: 'never' })).toEqual({ changes: [] });
  });
});

describe('ListSettings', () => {
  test('by key, below a prefix, in pages', async () => {
    for (const key of ['b/2', 'a', 'b/1', 'b/3', 'c', 'b']) await set(one, key, key);
    const pages: string[][] = [];
    for (let pageToken = ''; ; ) {
      const page = await two.settings.listSettings({ prefix: 'b/', pageSize: 2, pageToken });
      pages.push(page.settings.map(({ key }) => key));
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    expect(pages).toEqual([['b/1', 'b/2'], ['b/3']]);
    expect((await one.settings.listSettings({})).settings).toHaveLength(6);
  });
});

describe('WatchSettings', () => {
  test('a snapshot, then every change, in order, from whichever server', async () => {
    await set(one, 'mail/a', 1);
    await set(one, 'other', 1);
    const watches = [one, two].map((client) => new StubSettingWatch(client.settings, { prefix: 'mail/' }));
    for (const watch of watches) await eventually('the snapshot', () => watch.snapshot.length === 1);
    const expected: [string, unknown][] = [];
    for (let i = 0; i < 20; i++) {
      await set(i % 2 ? one : two, `mail/${i % 3}`, i);
      await set(one, 'other', i);
      expected.push([`mail/${i % 3}`, i]);
    }
    await two.settings.deleteSetting({ key: 'mail/0' });
    expected.push(['mail/0', null]);
    for (const watch of watches) {
      await eventually('all changes', () => watch.changes.length === expected.length);
      expect(watch.changes).toEqual(expected);
      watch.stop();
    }
  });

  test('goes on at a revision, on another server, and misses nothing', async () => {
    const watch = new StubSettingWatch(one.settings);
    await eventually('the snapshot', () => watch.messages.length === 1);
    const { revision } = await set(one, 'a', 1);
    await eventually('the change', () => watch.revision === revision);
    watch.stop();
    await set(one, 'b', 2);
    await set(two, 'a', 3);
    const next = new StubSettingWatch(two.settings, { fromRevision: revision });
    await eventually('what was missed', () => next.changes.length === 2);
    expect(next.changes).toEqual([['b', 2], ['a', 3]]); // biome-ignore format: pairs
    expect(next.snapshot).toEqual([]);
    await set(one, 'c', 4);
    await eventually('what comes', () => next.changes.length === 3);
  });

  test('what pub/sub loses shows with the next change; the last one is found by the slow check', async () => {
    const redis = stack.redis.client();
    await set(one, 'a', 1);
    const watches = [one, two].map((client) => new StubSettingWatch(client.settings));
    for (const watch of watches) await eventually('the snapshot', () => watch.snapshot.length === 1);
    for (const lost of [2, 3]) await setUnheard(redis, namespace, 'a', lost);
    await set(one, 'a', 4);
    const expected = [['a', 2], ['a', 3], ['a', 4]]; // biome-ignore format: pairs
    for (const watch of watches) {
      await eventually('all changes', () => watch.changes.length === 3);
      expect(watch.changes).toEqual(expected);
    }
    await setUnheard(redis, namespace, 'a', 5);
    for (const watch of watches) {
      await eventually('the last one', () => watch.changes.length === 4, { timeoutMs: 5_000 });
      expect(watch.changes.at(-1)).toEqual(['a', 5]);
      watch.stop();
    }
  });

  test('a revision that is up to date is confirmed at once', async () => {
    const { revision } = await set(one, 'a', 1);
    const watch = new StubSettingWatch(two.settings, { fromRevision: revision });
    await eventually('the confirmation', () => watch.revision === revision);
    expect(watch.messages).toHaveLength(1);
  });

  test('a revision from the future, or one that is too old, is refused', async () => {
    const { revision } = await set(one, 'a', 0);
    for (const fromRevision of [revision + 1n, 1n]) {
      const refused = await new StubSettingWatch(one.settings, { fromRevision }).ended;
      expect(refused).toMatchObject({
        code: Status.OK + 11,
        reason: 'REVISION_UNAVAILABLE',
        metadata: { latest_revision: String(revision) },
      });
    }
  });
});
