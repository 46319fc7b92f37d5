import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Crowd } from '../../server/src/crowd.js';
import { testSeed } from '../support/rng.js';

test('a crowd does what a set does', () => {
  const step = fc.record({ adds: fc.boolean(), which: fc.nat(20) });
  const check = (steps: readonly { adds: boolean; which: number }[]) => {
    const items = Array.from({ length: 21 }, (_, key) => ({ key, place: 0 }));
    const crowd = new Crowd<(typeof items)[number]>();
    const model = new Set<unknown>();
    for (const { adds, which } of steps) {
      const item = items[which] as (typeof items)[number];
      if (!adds) expect(crowd.delete(item)).toBe(model.delete(item));
      else if (!model.has(item)) {
        crowd.add(item);
        model.add(item);
      }
      expect(crowd.all()).toHaveLength(model.size);
    }
    expect(new Set(crowd.all())).toEqual(model);
  };
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), check), { seed: testSeed() });
});
