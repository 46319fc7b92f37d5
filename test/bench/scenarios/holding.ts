import type { Results } from '../harness/results.js';
import { formatCpu, formatNumber } from '../harness/table.js';
import { tableOf } from './rows.js';
import type { Scenario, Target } from './scenario.js';

const [one, many] = [1, 10_000];
const atLeastMs = 10_000;
const equalWithin = 1.2;

export const holding: Scenario = {
  id: 'holding',
  title: 'Holding: locks held by one process that does nothing else',
  sizes: [one, many],
  takesPart: (contender) => contender.refreshPeriodMs !== undefined,
  /** Whole refresh periods, so that none counts half. */
  windowMs(contender, pace) {
    const periodMs = contender.refreshPeriodMs ?? atLeastMs;
    return pace.quick ? periodMs : periodMs * Math.ceil(atLeastMs / periodMs);
  },
  table: (results) =>
    tableOf(results, 'locks held', [
      ['gRPC messages/s', (m) => formatNumber(m.grpcMessagesPerSecond)],
      ['scripts/s', (m) => formatNumber(m.redisScriptsPerSecond)],
      ['Redis commands/s', (m) => formatNumber(m.redisCommandsPerSecond)],
      ['Redis kB/s', (m) => formatNumber((m.redisBytesPerSecond ?? Number.NaN) / 1000)],
      ['CPU client', (m) => formatCpu(m.clientCpuPerSecond)],
      ['Stafett server', (m) => formatCpu(m.serverCpuPerSecond)],
      ['Redis', (m) => formatCpu(m.redisCpuPerSecond)],
      ['acquired in s', (m) => formatNumber(m.acquireSeconds)],
    ]),
  targets: (results) => [
    sameCost(results, 'grpcMessagesPerSecond', 'gRPC messages/s', 0.5),
    sameCost(results, 'redisScriptsPerSecond', 'Redis scripts/s', 1),
    sameCost(results, 'redisCommandsPerSecond', 'Redis commands/s', 2),
  ],
};

/** Equal but for a fifth, or for the odd message on either side of the window. */
function sameCost(results: Results, metric: string, what: string, slack: number): Target {
  const [few, lots] = [results.median('stafett', one, metric), results.median('stafett', many, metric)];
  const unknown = Number.isNaN(few) || Number.isNaN(lots);
  return {
    text: `holding ${formatNumber(many)} locks costs what holding one does: ${what}`,
    measured: `${formatNumber(lots)} against ${formatNumber(few)}`,
    reached: unknown ? undefined : lots <= few * equalWithin + slack,
  };
}
