import { beforeEach, describe, expect, test, vi } from 'vitest';
import { RedisClock } from '../../server/src/redis/redis-clock.js';

const REDIS = 1_700_000_000_000;
const TOLERANCE_MS = 200;

let clock: RedisClock;

/** A reply that took `ms`, at `at` by our clock, from a Redis that is `ahead`. */
function observe(at: number, ms: number, ahead = 0): void {
  clock.observe(REDIS + ahead + at + ms / 2, at, at + ms);
}

function expectedAt(at: number): number {
  vi.spyOn(performance, 'now').mockReturnValue(at);
  return clock.expected();
}

beforeEach(() => {
  clock = new RedisClock();
});

test('knows no time before the first reply, nor after it was told to forget it', () => {
  expect(clock.expected()).toBe(0);
  observe(0, 2);
  clock.forget();
  expect(clock.expected()).toBe(0);
  expect(clock.wasSet(5, 0, 1, TOLERANCE_MS)).toBe(false);
});

test('another Redis process may have another time', () => {
  clock.belongsTo('a');
  observe(0, 2);
  clock.belongsTo('a');
  expect(clock.expected()).not.toBe(0);
  clock.belongsTo('b');
  expect(clock.expected()).toBe(0);
});

test('slow replies do not make it less exact', () => {
  observe(0, 2);
  clock.observe(REDIS + 100, 100, 5_000); // carried out at once, answered late
  clock.observe(REDIS + 9_999, 6_000, 10_000); // carried out late
  expect(Math.abs(expectedAt(20_000) - (REDIS + 20_000))).toBeLessThanOrEqual(2);
});

test('slow drift is followed', () => {
  for (let at = 0; at < 3_600_000; at += 1_000) observe(at, 2, at / 2_000); // 500 ppm: 1.8 s in an hour
  expect(Math.abs(expectedAt(3_600_000) - (REDIS + 3_600_000 + 1_800))).toBeLessThanOrEqual(3);
});

describe('tells a clock that was set from a call that was slow', () => {
  beforeEach(() => observe(0, 2));

  test.each([
    ['as expected', 0, 0, false],
    ['set forward', 250, 0, true],
    ['set back', -250, 0, true],
    ['set by less than the tolerance', 190, 0, false],
    ['a slow call', 0, 3_000, false],
    ['set forward, and a slow call', 3_300, 3_000, true],
  ])('%s', (_, byMs, tookMs, wasSet) => {
    expect(clock.wasSet(REDIS + 10_000 + byMs, 10_000, 10_000 + tookMs, TOLERANCE_MS)).toBe(wasSet);
  });
});

test('follows drift while nobody asks, but neither a clock that was set nor one that is not known', () => {
  const follow = (at: number, ahead: number) => clock.follow(REDIS + ahead + at + 1, at, at + 2, TOLERANCE_MS);
  follow(0, 0);
  expect(clock.expected()).toBe(0);
  observe(0, 2);
  for (let i = 1; i <= 10; i++) follow(i * 1_000, i * 50);
  expect(Math.abs(expectedAt(10_000) - (REDIS + 10_500))).toBeLessThan(3);
  follow(11_000, 3_600_000);
  expect(Math.abs(expectedAt(11_000) - (REDIS + 11_500))).toBeLessThan(3);
});
