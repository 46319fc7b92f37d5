import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { WatchSettingsResponse } from '../../server/src/gen/stafett/v1/setting.js';
import { Mirror, type Step } from '../../server/src/settings/mirror.js';
import type { NamespaceSettings } from '../../server/src/settings/namespace-settings.js';
import { SettingWatch } from '../../server/src/settings/setting-watch.js';

// What one reader of settings is told, however slowly it reads.

const BIG = `"${'x'.repeat(300_000)}"`;

/** A server's settings, and one who watches some of them. */
class World {
  readonly events = new EventEmitter<{ step: [Step] }>();
  readonly mirror = new Mirror((step) => this.events.emit('step', step));
  readonly #stop = new AbortController();
  #revision = 10;

  constructor(settings: Record<string, string> = {}) {
    const entries = Object.entries(settings).flatMap(([key, value], i) => [key, [i + 1, value, 1, 'author', `r${i}`]]);
    this.mirror.load({ revision: this.#revision, floor: this.#revision, entries: entries as never, log: [] });
  }

  current = async (): Promise<void> => {};

  watch(prefix = '', from = 0n): AsyncGenerator<WatchSettingsResponse> {
    return new SettingWatch(this as unknown as NamespaceSettings, prefix).run(from, this.#stop.signal);
  }

  set(key: string, value: string | false): number {
    const before = this.#revision++;
    this.mirror.apply([this.#revision, before, key, value, 1, 'author', `r${this.#revision}`]);
    return this.#revision;
  }

  stop(): void {
    this.#stop.abort();
  }
}

async function next(watch: AsyncGenerator<WatchSettingsResponse>): Promise<WatchSettingsResponse> {
  return (await watch.next()).value as WatchSettingsResponse;
}

const keysOf = ({ changes }: WatchSettingsResponse) => changes.map(({ setting, deleted }) => `${deleted ? '-' : ''}${setting?.key}`);

describe('a watch', () => {
  test('tells a big snapshot in parts, and misses nothing that happens while it is read', async () => {
    const world = new World({ a: BIG, b: BIG, c: BIG });
    const watch = world.watch();
    const parts = [await next(watch)];
    world.set('a', '1');
    const last = world.set('d', '2');
    while (parts.at(-1)?.more) parts.push(await next(watch));
    expect(parts.map(({ snapshot, revision }) => [snapshot.map(({ key }) => key).join(), revision])).toEqual([
      ['a', 0n],
      ['b', 0n],
      ['c', 10n],
    ]);
    const changes = await next(watch);
    expect([keysOf(changes), changes.revision]).toEqual([['a', 'd'], BigInt(last)]);
    world.stop();
    expect(await watch.next()).toMatchObject({ done: true });
    expect(world.events.listenerCount('step')).toBe(0);
  });

  test('tells what happens below its prefix, in order, and how far all is told', async () => {
    const world = new World({ 'mail/a': '1', other: '1' });
    const watch = world.watch('mail/');
    expect((await next(watch)).snapshot.map(({ key }) => key)).toEqual(['mail/a']);
    world.set('mail/b', '1');
    world.set('other', '2');
    world.set('mail/a', false);
    const last = world.set('other', '3');
    const { changes, revision } = await next(watch);
    expect([keysOf({ changes } as WatchSettingsResponse), revision]).toEqual([['mail/b', '-mail/a'], BigInt(last)]);
    world.stop();
  });

  test('goes on at a revision that is known, and at no other', async () => {
    const world = new World({ a: '1' });
    const first = world.set('b', '1');
    world.set('a', '2');
    world.set('b', false);
    expect(keysOf(await next(world.watch('', BigInt(first))))).toEqual(['a', '-b']);
    expect(keysOf(await next(world.watch('', 10n)))).toEqual(['b', 'a', '-b']);
    for (const unknown of [9n, 14n])
      await expect(world.watch('', unknown).next()).rejects.toMatchObject({ message: /without from_revision/ });
    world.stop();
  });
});

describe('a reader that does not read', () => {
  test.each([
    ['10,000 changes', 10_001, '1'],
    ['4 MiB of them', 15, BIG],
  ])('is cut off at %s', async (_, count, value) => {
    const world = new World();
    const watch = world.watch();
    await next(watch);
    for (let i = 0; i < count - 1; i++) world.set('a', value);
    expect(world.events.listenerCount('step')).toBe(1);
    world.set('a', value);
    world.set('a', value);
    await expect(watch.next()).rejects.toMatchObject({ message: expect.stringMatching(/10000 changes or 4194304 bytes/) });
    expect(world.events.listenerCount('step')).toBe(0);
  });

  test('and is not there yet has them, in messages that are not too long', async () => {
    const world = new World();
    const watch = world.watch();
    await next(watch);
    for (let i = 0; i < 5; i++) world.set(`${i}`, BIG);
    const messages = [await next(watch), await next(watch), await next(watch)];
    expect(messages.map(keysOf)).toEqual([['0', '1'], ['2', '3'], ['4']]);
    world.stop();
  });
});
