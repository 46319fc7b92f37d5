// The client process of one job: connects one contender, puts the load on it, reports and ends.
import { setTimeout as sleep } from 'node:timers/promises';
import { contenderById } from './contenders/index.js';
import type { FromWorker, Job, Mark, ToWorker } from './harness/job.js';
import type { Metrics } from './harness/stats.js';
import type { Load } from './scenarios/load.js';
import { loadHandoff } from './scenarios/load-handoff.js';
import { loadHolding } from './scenarios/load-holding.js';
import { loadUncontended } from './scenarios/load-uncontended.js';
import { warmUp, warmUpLanes } from './scenarios/warm-up.js';

const loads: Record<Job['scenario'], Load> = { uncontended: loadUncontended, handoff: loadHandoff, holding: loadHolding };
const closeWithinMs = 8000;

let go: (() => void) | undefined;

function send(message: FromWorker): void {
  process.send?.(message);
}

const mark: Mark = () =>
  new Promise((resolve) => {
    go = resolve;
    send({ type: 'mark' });
  });

async function work(job: Job): Promise<Metrics> {
  const contender = await contenderById(job.contender).connect(job.endpoints, Math.max(job.size + 1, warmUpLanes));
  try {
    await warmUp(contender, job);
    return await loads[job.scenario](contender, job, mark);
  } finally {
    await Promise.race([contender.close(), sleep(closeWithinMs)]);
  }
}

// Without the bench there is nobody to report to.
process.on('disconnect', () => process.exit(1));
if (!process.connected) process.exit(1);
process.on('message', (message: ToWorker) => {
  if (message.type === 'go') return go?.();
  work(message.job)
    .then(
      (metrics) => send({ type: 'result', metrics }),
      (error: unknown) => send({ type: 'error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
    .finally(() => setTimeout(() => process.exit(0), 50));
});
