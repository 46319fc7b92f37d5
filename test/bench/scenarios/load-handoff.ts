import { setTimeout as sleep } from 'node:timers/promises';
import { HandoffRecorder } from './handoff-recorder.js';
import type { Load } from './load.js';

const settleMs = 300;
const settleMsPerWaiter = 0.2;
const drainMs = 3000;

/** `size` waiters on one lock, each: acquire, release, again. They queue behind a gate first, so that all begin together. */
export const loadHandoff: Load = async (contender, job, mark) => {
  const name = `${job.prefix}/lock`;
  const recorder = new HandoffRecorder(job.size);
  let stopping = false;

  const waiter = async (index: number) => {
    while (!stopping) {
      const ticket = recorder.asked(index);
      const release = await contender.acquire(name, index);
      recorder.granted(index, ticket);
      recorder.releasing();
      await release();
    }
  };

  const openGate = await contender.acquire(name, job.size);
  const waiters = Promise.all(Array.from({ length: job.size }, (_, index) => waiter(index)));
  const load = async () => {
    await sleep(settleMs + settleMsPerWaiter * job.size);
    recorder.releasing();
    await openGate();
    await sleep(job.warmupMs);
    await mark();
    recorder.begin();
    await sleep(job.windowMs);
    const metrics = recorder.end();
    await mark();
    stopping = true;
    return metrics;
  };
  const metrics = await Promise.race([load(), waiters.then(() => ({}))]);
  // Those who still wait are served once more, as far as time allows; what is left ends with the connection.
  await Promise.race([waiters.catch(() => {}), sleep(drainMs)]);
  waiters.catch(() => {});
  return metrics;
};
