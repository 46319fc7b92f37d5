import type { ChildProcess } from 'node:child_process';
import { ended, start, stop } from './child.js';
import type { CleanupStack } from './cleanup.js';
import type { FromWorker, Job, ToWorker } from './job.js';
import { repositoryRoot, workerPath } from './paths.js';
import { ratesBetween, type Snapshot, snapshot } from './probe.js';
import type { Services } from './services.js';
import type { Metrics } from './stats.js';

const beyondMs = 60_000;

/** Runs one job in a child process of its own and adds what Redis and the processes did meanwhile. */
export async function runJob(job: Job, services: Services, cleanup: CleanupStack, nodeArgs: readonly string[]): Promise<Metrics> {
  const child = start(process.execPath, [...nodeArgs, '--import', 'tsx', workerPath], {
    cwd: repositoryRoot,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  cleanup.add(() => stop(child, 'SIGKILL'));
  const timer = setTimeout(() => child.kill('SIGKILL'), job.warmupMs + job.windowMs + beyondMs);
  try {
    return await converse(child, job, services);
  } finally {
    clearTimeout(timer);
    const patience = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended(child);
    clearTimeout(patience);
  }
}

function converse(child: ChildProcess, job: Job, services: Services): Promise<Metrics> {
  const marks: Snapshot[] = [];
  const send = (message: ToWorker) => child.connected && child.send(message);
  send({ type: 'job', job });
  return new Promise((resolve, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`the client process ended early (${signal ?? code})`)));
    child.on('message', (message: FromWorker) => {
      if (message.type === 'error') reject(new Error(message.message));
      else if (message.type === 'mark') {
        snapshot(services, child.pid as number).then((taken) => {
          marks.push(taken);
          send({ type: 'go' });
        }, reject);
      } else {
        const [from, to] = marks;
        resolve({ ...message.metrics, ...(from !== undefined && to !== undefined ? ratesBetween(from, to) : {}) });
      }
    });
  });
}
