import { cpuSeconds } from './cpu.js';
import { Samples } from './samples.js';

export interface LaneFigures {
  readonly perSecond: number;
  /** Of one action, ms. */
  readonly p50: number;
  readonly p99: number;
  /** Of each process, for each action, µs. */
  readonly cpu: readonly number[];
}

/** So many lanes, each of which does it again and again. */
export async function runLanes(size: number, windowMs: number, pids: readonly number[], act: () => Promise<unknown>): Promise<LaneFigures> {
  const times = new Samples();
  const cpuBefore = pids.map(cpuSeconds);
  const beganAt = performance.now();
  const lane = async () => {
    for (let at = beganAt; at - beganAt < windowMs; ) {
      await act();
      const now = performance.now();
      times.add(now - at);
      at = now;
    }
  };
  await Promise.all(Array.from({ length: size }, lane));
  const seconds = (performance.now() - beganAt) / 1000;
  const cpu = pids.map((pid, i) => (1e6 * (cpuSeconds(pid) - (cpuBefore[i] as number))) / times.length);
  return { perSecond: times.length / seconds, p50: times.percentile(0.5), p99: times.percentile(0.99), cpu };
}
