import { connect } from '@stafett/client';
import { Queue, Worker } from 'bullmq';
import type { CleanupStack } from '../harness/cleanup.js';
import { type LaneFigures, runLanes } from '../harness/lanes.js';
import type { RedisServer } from '../harness/redis-server.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatRatio, formatTable } from '../harness/table.js';
import { bullConnection } from './bull.js';
import type { Options } from './options.js';

const SIZES = [1, 64];
const WARM_UP_MS = 500;
const TYPE = 'report';
const RUNNING = 'goes-on';

/** Asks for the run with this id. */
type Ask = (id: string) => Promise<unknown>;

interface Way {
  readonly title: string;
  /** The one that its rate is compared with. */
  readonly peer: number;
  /** Does it start a run each time, or tell the state of one that goes on? */
  readonly starts: boolean;
  readonly ask: Ask;
}

/** Runs that start and end at once, and the state of one that goes on, beside jobs of BullMQ with ids of their own. */
export async function starts(redis: RedisServer, options: Options, cleanup: CleanupStack): Promise<void> {
  const server = await startStafett(redis.url, cleanup);
  const ways = [...(await bullWays(redis, cleanup)), ...(await stafettWays(server.grpcAddress, cleanup))];
  const pids = [process.pid, server.pid, redis.pid];
  console.log('\n## Start it once, or tell how far it is\n');
  const rows: string[][] = [];
  for (const size of SIZES) {
    const figures: LaneFigures[] = [];
    for (const way of ways) {
      await load(way, size, WARM_UP_MS, pids);
      figures.push(await load(way, size, options.windowMs, pids));
    }
    rows.push(...ways.map((way, i) => toRow(way, size, figures, i)));
  }
  console.log(formatTable(['', 'in flight', 'answers/s', '× BullMQ', 'p50 ms', 'p99 ms', 'asker µs', 'server µs', 'Redis µs'], rows));
}

async function bullWays(redis: RedisServer, cleanup: CleanupStack): Promise<Way[]> {
  const queue = new Queue(TYPE, { connection: bullConnection(redis.url) });
  const untilStopped = new Promise<void>((resolve) => cleanup.add(resolve));
  const run = async ({ id }: { id?: string | undefined }) => (id === RUNNING ? untilStopped : undefined);
  const worker = new Worker(TYPE, run, { connection: bullConnection(redis.url), concurrency: 100 });
  cleanup.add(() => worker.close(true));
  cleanup.add(() => queue.close());
  const add = (jobId: string) => queue.add(TYPE, { jobId }, { jobId, removeOnComplete: { age: 300 } });
  await add(RUNNING);
  return [
    { title: 'BullMQ, add with an id', peer: 0, starts: true, ask: add },
    { title: 'BullMQ, add what is there, and getState', peer: 1, starts: false, ask: async (id) => (await add(id)).getState() },
  ];
}

async function stafettWays(address: string, cleanup: CleanupStack): Promise<Way[]> {
  const client = await connect(address);
  cleanup.add(() => client.close());
  const report = client.runs.define(TYPE, {
    id: (id: string) => id,
    run: (id, { signal }) => {
      if (id !== RUNNING) return undefined;
      return new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  const ask = (id: string) => report.startOrGetStatus(id, { restartIfNotRunning: true });
  await ask(RUNNING);
  return [
    { title: 'Stafett, startOrGetStatus starts', peer: 0, starts: true, ask },
    { title: 'Stafett, startOrGetStatus of what goes on', peer: 1, starts: false, ask },
  ];
}

function toRow({ title, peer }: Way, size: number, figures: readonly LaneFigures[], i: number): string[] {
  const { perSecond, p50, p99, cpu } = figures[i] as LaneFigures;
  const ratio = formatRatio(perSecond / (figures[peer] as LaneFigures).perSecond);
  const [asker, server, redis] = cpu.map(formatNumber) as [string, string, string];
  return [title, `${size}`, formatNumber(perSecond), ratio, formatMs(p50), formatMs(p99), asker, i === peer ? '' : server, redis];
}

let lastId = 0;

function load({ starts: startsRuns, ask }: Way, size: number, windowMs: number, pids: readonly number[]): Promise<LaneFigures> {
  return runLanes(size, windowMs, pids, () => ask(startsRuns ? `run-${++lastId}` : RUNNING));
}
