import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Numbered, Ring } from '../../clients/typescript/src/numbered.js';
import { testSeed } from '../support/rng.js';

interface Thing extends Numbered {
  readonly n: number;
}

describe('a ring', () => {
  test('does what a map does whose keys are never used twice, and keeps the order', () => {
    const steps = fc.array(fc.oneof(fc.constant('add' as const), fc.nat(300)), { maxLength: 400, size: 'max' });
    const check = (script: readonly ('add' | number)[]) => {
      const ring = new Ring<Thing>();
      const model = new Map<number, Thing>();
      const given: Thing[] = [];
      for (const [n, step] of script.entries()) {
        if (step === 'add') {
          const thing = { n, number: 0 };
          ring.add(thing);
          expect(thing.number).toBeGreaterThan(given.at(-1)?.number ?? 0);
          given.push(thing);
          model.set(thing.number, thing);
        } else if (step < given.length) {
          const thing = given[step] as Thing;
          expect(ring.delete(thing)).toBe(model.delete(thing.number));
        }
        expect(ring.size).toBe(model.size);
      }
      expect(given.map(({ number }) => ring.get(number))).toEqual(given.map(({ number }) => model.get(number)));
      expect(ring.all()).toEqual([...model.values()]);
    };
    fc.assert(fc.property(steps, check), { seed: testSeed() });
  });

  test('gives numbers that follow each other while nothing stays, and passes over what has stayed', () => {
    const ring = new Ring<Thing>();
    const lasting = { n: 0, number: 0 };
    ring.add(lasting);
    let last = lasting.number;
    let skipped = 0;
    for (let n = 1; n <= 10_000; n++) {
      const thing = { n, number: 0 };
      ring.add(thing);
      skipped += thing.number - last - 1;
      last = thing.number;
      expect([ring.get(lasting.number), ring.get(thing.number)]).toEqual([lasting, thing]);
      expect([ring.delete(thing), ring.delete(thing), ring.get(thing.number)]).toEqual([true, false, undefined]);
    }
    expect(skipped).toBeGreaterThan(0);
    expect(skipped).toBeLessThan(200);
  });

  test('does not find what was never there', () => {
    const ring = new Ring<Thing>();
    const thing = { n: 1, number: 0 };
    expect([ring.get(0), ring.get(1), ring.delete(thing), ring.size]).toEqual([undefined, undefined, false, 0]);
  });
});
