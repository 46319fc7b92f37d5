import type { Results } from '../harness/results.js';
import type { Metrics } from '../harness/stats.js';
import { formatMs, formatNumber, formatRatio } from '../harness/table.js';
import { cpuColumns } from './cpu-columns.js';
import { tableOf } from './rows.js';
import type { Scenario, Target } from './scenario.js';

const handoffP50TargetMs = 0.7;
const flatWithin = 1.5;

export const handoff: Scenario = {
  id: 'handoff',
  title: 'Hand-off: waiters on one lock, each acquires, releases and queues again',
  sizes: [2, 16, 128, 1000, 10_000],
  takesPart: (contender, size) => size <= contender.waitersMax,
  windowMs: (_contender, pace) => pace.windowMs,
  table: (results) =>
    tableOf(results, 'waiters', [
      ['holder changes/s', (m) => formatNumber(m.changesPerSecond)],
      ['same again/s', (m) => formatNumber(m.reacquiredPerSecond)],
      ['hand-off p50 ms', (m) => formatMs(m.handoffP50Ms)],
      ['p99 ms', (m) => formatMs(m.handoffP99Ms)],
      ['wait p99 ms', (m) => formatMs(m.waitP99Ms)],
      ['served min–max', (m) => `${formatNumber(m.servedMin)}–${formatNumber(m.servedMax)}`],
      ['never', (m) => formatNumber(m.neverServed)],
      ['out of order', (m) => formatNumber(m.outOfOrder)],
      ['scripts/grant', (m) => formatNumber(perGrant(m, 'redisScriptsPerSecond'))],
      ['Redis commands/grant', (m) => formatNumber(perGrant(m, 'redisCommandsPerSecond'))],
      ...cpuColumns('grant', grantsPerSecond),
    ]),
  targets(results) {
    const sizes = results.sizes().filter((size) => size >= 16 && results.medians('stafett', size) !== undefined);
    return [
      ...sizes.flatMap((size) => versusPostgres(results, size)),
      ...flatness(results, sizes),
      ...speed(results),
      ...fairness(results),
    ];
  },
};

function grantsPerSecond(metrics: Metrics): number {
  return (metrics.changesPerSecond ?? Number.NaN) + (metrics.reacquiredPerSecond ?? Number.NaN);
}

function perGrant(metrics: Metrics, metric: string): number {
  return (metrics[metric] ?? Number.NaN) / grantsPerSecond(metrics);
}

/** Where Postgres cannot go (10,000 waiters), there is nothing to compare with. */
function versusPostgres(results: Results, size: number): Target[] {
  const ratio = results.ratio('stafett', ['postgres'], size, 'changesPerSecond', 'most');
  if (Number.isNaN(ratio)) return [];
  return [
    {
      text: `${formatNumber(size)} waiters: at least as many holder changes/s as Postgres`,
      measured: formatRatio(ratio),
      reached: ratio >= 1,
    },
  ];
}

function flatness(results: Results, sizes: readonly number[]): Target[] {
  if (sizes.length < 2) return [];
  const rates = sizes.map((size) => results.median('stafett', size, 'changesPerSecond'));
  const spread = Math.max(...rates) / Math.min(...rates);
  const range = `${formatNumber(sizes[0])} to ${formatNumber(sizes.at(-1))}`;
  return [{ text: `flat within ${flatWithin}× from ${range} waiters`, measured: formatRatio(spread), reached: spread <= flatWithin }];
}

function speed(results: Results): Target[] {
  const slowest = Math.max(
    ...results
      .sizes()
      .map((size) => results.median('stafett', size, 'handoffP50Ms'))
      .filter((p50) => !Number.isNaN(p50)),
  );
  if (!Number.isFinite(slowest)) return [];
  return [
    {
      text: `hand-off p50 below ${handoffP50TargetMs} ms at every size`,
      measured: `${formatMs(slowest)} ms`,
      reached: slowest < handoffP50TargetMs,
    },
  ];
}

function fairness(results: Results): Target[] {
  const cells = results.measurements.flatMap(({ contender, metrics }) =>
    contender === 'stafett' && metrics !== undefined ? [metrics] : [],
  );
  if (cells.length === 0) return [];
  const most = (value: (metrics: Metrics) => number) => Math.max(...cells.map(value));
  const outOfOrder = most((m) => m.outOfOrder ?? 0);
  const unequal = most((m) => (m.servedMax ?? 0) - (m.servedMin ?? 0));
  const overlaps = most((m) => m.overlaps ?? 0);
  const measured = `${outOfOrder} out of order, served max − min ${unequal}, ${overlaps} overlaps`;
  return [{ text: 'everyone served in order, in every run', measured, reached: outOfOrder === 0 && unequal <= 1 && overlaps === 0 }];
}
