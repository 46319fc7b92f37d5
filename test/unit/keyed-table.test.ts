import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Placed } from '../../server/src/crowd.js';
import { KeyedTable } from '../../server/src/keyed-table.js';
import { testSeed } from '../support/rng.js';

interface Item extends Placed {
  readonly key: string;
}

describe('a keyed table', () => {
  test('does what a map does', () => {
    const step = fc.record({ adds: fc.boolean(), key: fc.integer({ min: 0, max: 150 }).map(String) });
    const check = (steps: readonly { adds: boolean; key: string }[]) => {
      const table = new KeyedTable<Item>(({ key }) => key);
      const model = new Map<string, Item>();
      for (const { adds, key } of steps) {
        const there = model.get(key);
        expect(table.get(key)).toBe(there);
        if (adds && !there) {
          const item = { key, place: 0 };
          table.add(item);
          model.set(key, item);
        } else if (!adds && there) {
          expect([table.delete(there), table.delete(there)]).toEqual([true, false]);
          model.delete(key);
        }
        expect(table.size).toBe(model.size);
      }
      expect(new Set(table.all())).toEqual(new Set(model.values()));
    };
    fc.assert(fc.property(fc.array(step, { minLength: 300, maxLength: 600, size: 'max' }), check), { seed: testSeed(), numRuns: 50 });
  });

  test('has room for several with one key, and takes out the one that is meant', () => {
    const table = new KeyedTable<Item>(({ key }) => key);
    const items = Array.from({ length: 3 }, () => ({ key: 'a', place: 0 }));
    for (const item of items) table.add(item);
    expect(table.delete(items[1] as Item)).toBe(true);
    expect(new Set(table.all())).toEqual(new Set([items[0], items[2]]));
  });
});
