import { Registry } from 'prom-client';
import { beforeEach, expect, test } from 'vitest';
import { ClassHistogram } from '../../server/src/locks/class-histogram.js';

let registry: Registry;
let histogram: ClassHistogram;

beforeEach(() => {
  registry = new Registry();
  histogram = new ClassHistogram(registry, 'waits', 'How long.');
});

test('counts by the first segment of the name, in cumulative buckets', async () => {
  for (const [name, ms] of [
    ['customer/42', 1],
    ['customer/43', 5.1],
    ['customer/42', 1_000_000],
    ['plain', 30],
    ['/odd', 30],
  ] as const)
    histogram.observeLock(name, ms);
  const text = await registry.metrics();
  const value = (line: string) =>
    Number(
      text
        .split('\n')
        .find((each) => each.startsWith(`${line} `))
        ?.split(' ')[1],
    );
  expect(value('waits_bucket{class="customer",le="0.001"}')).toBe(1);
  expect(value('waits_bucket{class="customer",le="0.005"}')).toBe(1);
  expect(value('waits_bucket{class="customer",le="0.025"}')).toBe(2);
  expect(value('waits_bucket{class="customer",le="300"}')).toBe(2);
  expect(value('waits_bucket{class="customer",le="+Inf"}')).toBe(3);
  expect(value('waits_count{class="customer"}')).toBe(3);
  expect(value('waits_sum{class="customer"}')).toBeCloseTo(1000.0061);
  expect(value('waits_count{class="none"}')).toBe(2);
  expect(text).toContain('# HELP waits How long.\n# TYPE waits histogram');
});

test('has at most 50 classes; the later ones share one label', async () => {
  for (let i = 0; i < 100; i++) histogram.observeLock(`class${i}/x`, 1);
  const text = await registry.metrics();
  expect(text.match(/^waits_count/gm)).toHaveLength(51);
  expect(text).toContain('waits_count{class="other"} 50');
});
