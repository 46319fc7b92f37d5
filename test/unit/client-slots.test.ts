import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slots } from '../../clients/typescript/src/slots.js';
import { testSeed } from '../support/rng.js';

describe('slots', () => {
  test('do what a map does whose keys are never used twice', () => {
    const steps = fc.array(fc.oneof(fc.constant('add' as const), fc.nat(20)), { maxLength: 60 });
    const check = (script: readonly ('add' | number)[]) => {
      const slots = new Slots<{ n: number }>();
      const model = new Map<number, { n: number }>();
      const given: number[] = [];
      for (const [n, step] of script.entries()) {
        if (step === 'add') {
          const number = slots.add({ n });
          expect(number).toBeGreaterThan(0);
          expect(given).not.toContain(number);
          given.push(number);
          model.set(number, { n });
        } else if (step < given.length) {
          const number = given[step] as number;
          expect(slots.delete(number)).toBe(model.delete(number));
        }
        expect(slots.size).toBe(model.size);
        expect(given.map((number) => slots.get(number))).toEqual(given.map((number) => model.get(number)));
      }
      expect(slots.all().sort((a, b) => a.n - b.n)).toEqual([...model.values()]);
    };
    fc.assert(fc.property(steps, check), { seed: testSeed() });
  });

  test('begin with the first numbers again before numbers are no longer exact', () => {
    const slots = new Slots<object>(3);
    const numbers = Array.from({ length: 7 }, () => {
      const number = slots.add({});
      expect([slots.delete(number), slots.delete(number)]).toEqual([true, false]);
      return number;
    });
    expect(new Set(numbers.slice(0, 3)).size).toBe(3);
    expect(numbers).toEqual([...numbers.slice(0, 3), ...numbers.slice(0, 3), numbers[0]]);
    expect(Number.isSafeInteger(Math.max(...numbers))).toBe(true);
  });
});
