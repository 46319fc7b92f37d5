import { connect, type Run, type Stafett } from '@stafett/client';
import { type Job, Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { CleanupStack } from '../harness/cleanup.js';
import type { RedisServer } from '../harness/redis-server.js';
import { Samples } from '../harness/samples.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatRatio, formatTable } from '../harness/table.js';
import { bullConnection } from './bull.js';
import type { Options } from './options.js';

const WARM_UP_MS = 500;
const TYPE = 'progress';
const ID = 'one';

/** Reports the number, which somebody else watches for. */
type Report = (n: number) => Promise<unknown>;

interface Way {
  readonly title: string;
  readonly report: Report;
}

/** Who waits for a report to arrive. Both ends are in this process, over connections of their own: one clock. */
class Arrival {
  #n = -1;
  #resolve: () => void = () => {};

  /** Resolves when the report has arrived. To be called before it is made. */
  of(n: number): Promise<void> {
    this.#n = n;
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  arrived(n: number): void {
    if (n === this.#n) this.#resolve();
  }
}

/** From a run's report of its progress until somebody who watches has it, one after the other. */
export async function progress(redis: RedisServer, options: Options, cleanup: CleanupStack): Promise<void> {
  const [home, other] = [await startStafett(redis.url, cleanup), await startStafett(redis.url, cleanup)];
  const [runner, near, far] = [await connect(home.grpcAddress), await connect(home.grpcAddress), await connect(other.grpcAddress)];
  for (const client of [runner, near, far]) cleanup.add(() => client.close());
  const arrival = new Arrival();
  const run = await startRun(runner);
  const ways: Way[] = [
    { title: 'plain Redis pub/sub, one message', report: await plainReport(redis.url, arrival, cleanup) },
    { title: 'BullMQ, updateProgress and QueueEvents', report: await bullReport(redis.url, arrival, cleanup) },
    { title: 'Stafett, watched at the same server', report: await watchedBy(near, run, arrival) },
    { title: 'Stafett, watched at another server', report: await watchedBy(far, run, arrival) },
  ];
  const figures: Samples[] = [];
  for (const way of ways) {
    await measure(way, arrival, WARM_UP_MS);
    figures.push(await measure(way, arrival, options.windowMs));
  }
  const plain = figures[0]?.percentile(0.5) as number;
  const rows = ways.map(({ title }, i) => {
    const times = figures[i] as Samples;
    const p50 = times.percentile(0.5);
    return [title, formatNumber(times.length), formatMs(p50), formatMs(times.percentile(0.99)), formatRatio(p50 / plain)];
  });
  console.log(
    `\n## From a report of progress to who watches\n\n${formatTable(['', 'reports', 'p50 ms', 'p99 ms', '× plain Redis'], rows)}`,
  );
}

async function measure({ report }: Way, arrival: Arrival, windowMs: number): Promise<Samples> {
  const times = new Samples();
  const endAt = performance.now() + windowMs;
  for (let n = 0; performance.now() < endAt; n++) {
    const at = performance.now();
    const arrived = arrival.of(1 + (n % 99));
    const reported = report(1 + (n % 99));
    await arrived;
    times.add(performance.now() - at);
    await reported;
  }
  return times;
}

/** A run that does nothing but to lend its means of reporting. */
function startRun({ runs }: Stafett): Promise<Run> {
  return new Promise((resolve, reject) => {
    const type = runs.define(TYPE, {
      id: () => ID,
      run: (_, run) => {
        resolve(run);
        return new Promise((end) => run.signal.addEventListener('abort', end, { once: true }));
      },
    });
    type.startOrGetStatus(ID, { restartIfNotRunning: true }).catch(reject);
  });
}

async function watchedBy({ runs }: Stafett, run: Run, arrival: Arrival): Promise<Report> {
  const watch = async (onBegin: () => void) => {
    for await (const state of runs.watch(TYPE, ID)) {
      onBegin();
      if (state.progress) arrival.arrived(state.progress.percent);
    }
  };
  await new Promise<void>((resolve, reject) => watch(resolve).catch(reject));
  return (percent) => run.progress({ percent });
}

async function bullReport(url: string, arrival: Arrival, cleanup: CleanupStack): Promise<Report> {
  const connection = bullConnection(url);
  const [queue, events] = [new Queue(TYPE, { connection }), new QueueEvents(TYPE, { connection })];
  const untilStopped = new Promise<void>((resolve) => cleanup.add(resolve));
  const job = new Promise<Job>((resolve) => {
    const worker = new Worker(
      TYPE,
      (started) => {
        resolve(started);
        return untilStopped;
      },
      { connection },
    );
    cleanup.add(() => worker.close(true));
  });
  for (const each of [queue, events]) cleanup.add(() => each.close());
  await events.waitUntilReady();
  events.on('progress', ({ data }) => arrival.arrived(data as number));
  await queue.add(TYPE, {}, { jobId: ID });
  const started = await job;
  return (percent) => started.updateProgress(percent);
}

async function plainReport(url: string, arrival: Arrival, cleanup: CleanupStack): Promise<Report> {
  const [publisher, subscriber] = [new Redis(url), new Redis(url)];
  for (const connection of [publisher, subscriber]) cleanup.add(() => connection.disconnect());
  subscriber.on('message', (_, message) => arrival.arrived(Number(message)));
  await subscriber.subscribe(TYPE);
  return (percent) => publisher.publish(TYPE, `${percent}`);
}
