import { setTimeout as sleep } from 'node:timers/promises';
import { Samples } from '../harness/samples.js';
import type { Load } from './load.js';

/** `size` lanes, each acquiring and releasing a lock of its own as fast as it goes. */
export const loadUncontended: Load = async (contender, job, mark) => {
  const pairMs = new Samples();
  const acquireMs = new Samples();
  let measuring = false;
  let stopping = false;

  const lane = async (index: number) => {
    const name = `${job.prefix}/${index}`;
    while (!stopping) {
      const startMs = performance.now();
      const release = await contender.acquire(name, index);
      const acquiredMs = performance.now();
      await release();
      if (!measuring) continue;
      pairMs.add(performance.now() - startMs);
      acquireMs.add(acquiredMs - startMs);
    }
  };

  const lanes = Promise.all(Array.from({ length: job.size }, (_, index) => lane(index)));
  const load = async () => {
    await sleep(job.warmupMs);
    await mark();
    const startMs = performance.now();
    measuring = true;
    await sleep(job.windowMs);
    measuring = false;
    const seconds = (performance.now() - startMs) / 1000;
    await mark();
    stopping = true;
    return seconds;
  };
  const seconds = await Promise.race([load(), lanes.then(() => Number.NaN)]);
  await lanes;
  return {
    pairsPerSecond: pairMs.length / seconds,
    pairP50Ms: pairMs.percentile(0.5),
    pairP99Ms: pairMs.percentile(0.99),
    acquireP50Ms: acquireMs.percentile(0.5),
    acquireP99Ms: acquireMs.percentile(0.99),
  };
};
