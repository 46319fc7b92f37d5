import type { Contender } from '../contenders/contender.js';
import type { Job } from '../harness/job.js';

/** Lanes of the warm-up, whatever the size of the cell. */
export const warmUpLanes = 64;

/**
 * Pairs on names of their own before the load of the cell begins: with one in flight neither the client nor the server would run
 * often enough for their code to be compiled, and a process in service has been.
 */
export async function warmUp(contender: Contender, job: Job): Promise<void> {
  const untilMs = performance.now() + job.warmupMs;
  const lane = async (index: number) => {
    while (performance.now() < untilMs) {
      const release = await contender.acquire(`${job.prefix}/warm-up/${index}`, index);
      await release();
    }
  };
  await Promise.all(Array.from({ length: warmUpLanes }, (_, index) => lane(index)));
}
