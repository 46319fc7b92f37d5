import type { Metrics } from '../harness/stats.js';
import { formatMs, formatNumber, formatRatio } from '../harness/table.js';
import { cpuColumns } from './cpu-columns.js';
import { tableOf } from './rows.js';
import type { Scenario } from './scenario.js';

const redisLibraries = ['redlock', 'redis-semaphore'];

export const uncontended: Scenario = {
  id: 'uncontended',
  title: 'Uncontended: acquire + release pairs, each lane on a lock of its own',
  sizes: [1, 64, 512],
  takesPart: (contender, size) => size <= contender.inFlightMax,
  windowMs: (_contender, pace) => pace.windowMs,
  table: (results) =>
    tableOf(results, 'in flight', [
      ['pairs/s', (m) => formatNumber(m.pairsPerSecond)],
      ['× best Redis library', (_m, id, size) => formatRatio(results.ratio(id, redisLibraries, size, 'pairsPerSecond', 'most'))],
      ['pair p50 ms', (m) => formatMs(m.pairP50Ms)],
      ['pair p99 ms', (m) => formatMs(m.pairP99Ms)],
      ['acquire p50 ms', (m) => formatMs(m.acquireP50Ms)],
      ['scripts/pair', (m) => formatNumber((m.redisScriptsPerSecond ?? Number.NaN) / pairsPerSecond(m))],
      ...cpuColumns('pair', pairsPerSecond),
    ]),
  targets(results) {
    const throughput = results.ratio('stafett', redisLibraries, 512, 'pairsPerSecond', 'most');
    const latency = results.ratio('stafett', redisLibraries, 1, 'pairP50Ms', 'least');
    return [
      {
        text: '512 in flight: at least 1.5× the better Redis library',
        measured: formatRatio(throughput),
        reached: reached(throughput >= 1.5, throughput),
      },
      { text: '512 in flight: aim for 3×', measured: formatRatio(throughput), reached: reached(throughput >= 3, throughput) },
      { text: '1 in flight: p50 at most 2× the better one', measured: formatRatio(latency), reached: reached(latency <= 2, latency) },
    ];
  },
};

function pairsPerSecond(metrics: Metrics): number {
  return metrics.pairsPerSecond ?? Number.NaN;
}

function reached(yes: boolean, value: number): boolean | undefined {
  return Number.isNaN(value) ? undefined : yes;
}
