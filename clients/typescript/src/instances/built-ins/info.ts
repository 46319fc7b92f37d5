import { arch, availableParallelism, hostname, loadavg, platform, release, totalmem } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { CallOffer } from '../handler.js';

/** For how long the event loop is watched, ms. */
const WATCH_MS = 250;

export function info(): CallOffer {
  return { description: 'versions, memory, CPU and event loop of the process', handle: describeProcess };
}

/** Neither the environment nor the arguments: both are known for secrets. */
async function describeProcess() {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = performance.eventLoopUtilization();
  delay.enable();
  await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  delay.disable();
  const { utilization } = performance.eventLoopUtilization(before);
  return {
    pid: process.pid,
    versions: { node: process.version, v8: process.versions.v8 },
    startTime: new Date(performance.timeOrigin).toISOString(),
    uptimeSeconds: Math.round(process.uptime()),
    host: { name: hostname(), platform: platform(), release: release(), arch: arch(), cpus: availableParallelism(), loadavg: loadavg() },
    memory: { ...process.memoryUsage(), heapLimit: getHeapStatistics().heap_size_limit, hostTotal: totalmem() },
    cpuSeconds: { user: process.cpuUsage().user / 1e6, system: process.cpuUsage().system / 1e6 },
    eventLoop: { utilization, delayMs: { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 } },
    activeResources: countEach(process.getActiveResourcesInfo()),
  };
}

function countEach(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
