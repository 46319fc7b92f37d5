import type { Metrics } from '../harness/stats.js';
import { formatNumber } from '../harness/table.js';
import type { Column } from './rows.js';

const parts = ['clientCpuPerSecond', 'serverCpuPerSecond', 'redisCpuPerSecond'] as const;

/** The contender's server is Stafett's or PostgreSQL's; what is not its own idles, and shows as 0. */
function cpuOf(metrics: Metrics): number[] {
  const [client = Number.NaN, stafett = Number.NaN, redis = Number.NaN] = parts.map((part) => metrics[part]);
  const postgres = metrics.postgresCpuPerSecond ?? Number.NaN;
  return [client, Math.max(stafett || 0, postgres || 0), redis];
}

/** CPU of client, server and Redis: in per cent of one core, and in µs for each operation; and the time in one script call. */
export function cpuColumns(operation: string, operationsPerSecond: (metrics: Metrics) => number): Column[] {
  const show = (values: readonly number[]) => values.map((value) => (Number.isNaN(value) ? '–' : value.toFixed(0))).join(' / ');
  const microsPerScript = (m: Metrics) => (m.redisScriptMicrosPerSecond ?? Number.NaN) / (m.redisScriptsPerSecond ?? Number.NaN);
  return [
    ['µs/script', (m) => formatNumber(microsPerScript(m))],
    ['CPU %: client / server / Redis', (m) => show(cpuOf(m).map((cpu) => 100 * cpu))],
    [`CPU µs/${operation}`, (m) => show(cpuOf(m).map((cpu) => (1e6 * cpu) / operationsPerSecond(m)))],
  ];
}
