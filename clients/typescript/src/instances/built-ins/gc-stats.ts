import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8';
import { type CallOffer, type CallParams, type IncomingCall, numberParam } from '../handler.js';
import { waitWithProgress } from './waiting.js';

const SECONDS_DEFAULT = 5;
const SECONDS_MAX = 300;
const KINDS: Record<number, string> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak-callbacks',
};

interface Pauses {
  count: number;
  totalMs: number;
  maxMs: number;
}

export function gcStats(): CallOffer {
  return { description: `garbage collections of so many seconds (seconds, default ${SECONDS_DEFAULT})`, handle: observe };
}

async function observe(params: CallParams, call: IncomingCall) {
  const seconds = numberParam(params, 'seconds', SECONDS_DEFAULT, 0.1, SECONDS_MAX);
  const pauses: Record<string, Pauses> = {};
  const observer = new PerformanceObserver((list) => list.getEntries().forEach((entry) => add(pauses, entry)));
  observer.observe({ entryTypes: ['gc'] });
  const before = process.memoryUsage();
  try {
    await waitWithProgress(seconds, 'watching the garbage collector', call);
    observer.takeRecords().forEach((entry) => add(pauses, entry));
  } finally {
    observer.disconnect();
  }
  return { seconds, pauses, memory: { before, after: process.memoryUsage() }, heap: getHeapStatistics(), spaces: getHeapSpaceStatistics() };
}

function add(pauses: Record<string, Pauses>, entry: PerformanceEntry): void {
  const { duration, detail } = entry as PerformanceEntry & { detail?: { kind?: number } };
  const kind = KINDS[detail?.kind ?? 0] ?? 'other';
  const so = pauses[kind] ?? { count: 0, totalMs: 0, maxMs: 0 };
  pauses[kind] = { count: so.count + 1, totalMs: so.totalMs + duration, maxMs: Math.max(so.maxMs, duration) };
}
