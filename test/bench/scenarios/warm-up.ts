import type { Contender } from '../contenders/contender.js';
import type { Job } from '../harness/job.js';

/** Lanes of the warm-up, one number after the other, whatever the size of the cell. */
export const warmUpLanes = 64;
const lanesInTurn = [warmUpLanes, 1];

/**
 * Pairs on names of their own before the load of the cell begins: else the client and the server would not run often enough for their
 * code to be compiled, and a process in service has been. What handles a single message is not what handles many at a time, so
 * both have their turn.
 */
export async function warmUp(contender: Contender, job: Job): Promise<void> {
  for (const lanes of lanesInTurn) {
    const untilMs = performance.now() + job.warmupMs / lanesInTurn.length;
    const lane = async (index: number) => {
      while (performance.now() < untilMs) {
        const release = await contender.acquire(`${job.prefix}/warm-up/${index}`, index);
        await release();
      }
    };
    await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  }
}
