import { describe, expect, test } from 'vitest';
import type { ChangeView } from '../../server/src/engine/setting-commands.js';
import { type Dump, Mirror, type Setting, type Step } from '../../server/src/settings/mirror.js';

function change(revision: number, before: number, key: string, value: string | false): ChangeView {
  return [revision, before, key, value, 1, 'author', `${revision}`];
}

function dump(revision: number, entries: Record<string, number>, more: Partial<Dump> = {}): Dump {
  const flat = Object.entries(entries).flatMap(([key, of]) => [key, [of, `${of}`, 1, 'author', `${of}`]]) as Dump['entries'];
  return { revision, floor: revision, entries: flat, log: [], ...more };
}

function mirrorOf(loaded?: Dump) {
  const steps: Step[] = [];
  const mirror = new Mirror((step) => steps.push(step));
  if (loaded) mirror.load(loaded);
  const state = () => Object.fromEntries([...mirror.settings.values()].map(({ key, revision }: Setting) => [key, revision]));
  return { mirror, steps, state };
}

describe('a mirror', () => {
  test('takes in changes that follow each other, once', () => {
    const { mirror, steps, state } = mirrorOf(dump(5, { a: 5 }));
    expect(mirror.apply(change(7, 5, 'b', 'x'))).toBe(true);
    expect(mirror.apply(change(7, 5, 'b', 'x'))).toBe(true);
    expect(mirror.apply(change(9, 7, 'a', false))).toBe(true);
    expect(state()).toEqual({ b: 7 });
    expect(steps.map(({ revision }) => revision)).toEqual([7, 9]);
  });

  test('refuses a change after one that it has not heard of', () => {
    const { mirror, state } = mirrorOf(dump(5, { a: 5 }));
    expect(mirror.apply(change(9, 7, 'b', 'x'))).toBe(false);
    expect(mirror.apply(change(9, -1, 'b', 'x'))).toBe(false);
    expect(state()).toEqual({ a: 5 });
    expect(mirrorOf().mirror.apply(change(1, 0, 'a', 'x'))).toBe(false); // it has not looked yet
  });

  test('finds out what has changed when it looks at everything again', () => {
    const { mirror, steps, state } = mirrorOf(dump(5, { a: 5, b: 3, c: 4 }));
    mirror.load(dump(9, { a: 5, c: 8, d: 7 }));
    expect(state()).toEqual({ a: 5, c: 8, d: 7 });
    expect(steps).toMatchObject([{ revision: 9, changes: [{ key: 'd' }, { key: 'c' }, { key: 'b', value: undefined, revision: 9 }] }]);
    mirror.load(dump(9, { a: 5, c: 8, d: 7 }));
    expect(steps).toHaveLength(1);
  });

  test('tells what happened since a revision, if that was one here', () => {
    const { mirror } = mirrorOf(dump(5, { a: 5 }, { floor: 3, log: [change(5, 3, 'a', '5')] }));
    mirror.apply(change(7, 5, 'b', 'x'));
    expect(mirror.since(3)?.map(({ revision }) => revision)).toEqual([5, 7]);
    expect(mirror.since(5)?.map(({ revision }) => revision)).toEqual([7]);
    expect(mirror.since(7)).toEqual([]);
    // Too old; never was one, so that what was told with it may be lost; from the future.
    for (const revision of [1, 4, 6, 8]) expect(mirror.since(revision)).toBeUndefined();
  });

  test('remembers so many steps', () => {
    const { mirror } = mirrorOf(dump(0, {}));
    for (let i = 1; i <= 1_500; i++) mirror.apply(change(i, i - 1, 'a', `${i}`));
    expect(mirror.since(500)).toHaveLength(1_000);
    expect(mirror.since(499)).toBeUndefined();
  });

  test('remembers so many bytes', () => {
    const { mirror } = mirrorOf(dump(0, {}));
    for (let i = 1; i <= 10; i++) mirror.apply(change(i, i - 1, 'a', 'x'.repeat(1024 * 1024)));
    expect(mirror.since(7)).toHaveLength(3);
    expect(mirror.since(6)).toBeUndefined();
  });
});
