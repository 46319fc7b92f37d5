import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from '../contenders/contender.js';
import type { Load } from './load.js';

const acquireAtOnce = 256;

/** Holds `size` locks and does nothing else. */
export const loadHolding: Load = async (contender, job, mark) => {
  const startMs = performance.now();
  await acquireAll(contender, job.prefix, job.size);
  const acquireSeconds = (performance.now() - startMs) / 1000;
  await sleep(job.warmupMs);
  await mark();
  await sleep(job.windowMs);
  await mark();
  return { acquireSeconds };
};

async function acquireAll(contender: Contender, prefix: string, count: number): Promise<void> {
  const acquire = (name: string, lane: number) => contender.hold?.(name) ?? contender.acquire(name, lane);
  let next = 0;
  const lane = async (index: number) => {
    while (next < count) await acquire(`${prefix}/${next++}`, index);
  };
  await Promise.all(Array.from({ length: Math.min(acquireAtOnce, count) }, (_, index) => lane(index)));
}
