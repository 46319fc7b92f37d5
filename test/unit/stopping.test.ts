import { expect, test } from 'vitest';
import { Step } from '../../server/src/rpc/draining.js';

test('those who follow a step are told once, but not those who have left, in whatever order they did', () => {
  const step = new Step();
  const told: number[] = [];
  const leave = Array.from({ length: 10 }, (_, i) => step.follow(() => told.push(i)));
  for (const i of [9, 0, 5, 5, 8, 0]) leave[i]?.();
  expect(step.reached).toBe(false);
  step.reach();
  expect(step.reached).toBe(true);
  expect(told.sort()).toEqual([1, 2, 3, 4, 6, 7]);
  for (const end of leave) end();
  step.reach();
  expect(told).toHaveLength(6);
});

test('who follows a step that has been reached is told at once', () => {
  const step = new Step();
  step.reach();
  let told = 0;
  const leave = step.follow(() => told++);
  expect(told).toBe(1);
  leave();
  step.reach();
  expect(told).toBe(1);
});
