import { connect } from '@stafett/client';
import { Redis } from 'ioredis';
import type { CleanupStack } from '../harness/cleanup.js';
import { type LaneFigures, runLanes } from '../harness/lanes.js';
import type { RedisServer } from '../harness/redis-server.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatRatio, formatTable } from '../harness/table.js';
import { toMark } from './mark.js';
import type { Options } from './options.js';

const SIZES = [1, 512];
const WARM_UP_MS = 300;
const HISTORY = { size: 1_000, age: '1h' } as const;

interface Way {
  readonly title: string;
  /** The one that its rate is compared with. */
  readonly plain: number;
  publish(channel: string, data: object): Promise<unknown>;
}

/** One publisher that nobody listens to, beside one that talks to Redis itself. */
export async function publications(
  redis: RedisServer,
  options: Options,
  nodeArgs: readonly string[],
  cleanup: CleanupStack,
): Promise<void> {
  const server = await startStafett(redis.url, cleanup, nodeArgs);
  const stafett = await connect(server.grpcAddress);
  const connection = new Redis(redis.url);
  cleanup.add(() => stafett.close());
  cleanup.add(() => connection.disconnect());
  const ways = waysOf(stafett, connection);
  const pids = [process.pid, server.pid, redis.pid];
  console.log('\n## Publications from one publisher\n');
  const rows: string[][] = [];
  for (const size of SIZES) {
    const figures: LaneFigures[] = [];
    for (const way of ways) {
      await load(way, size, WARM_UP_MS, pids);
      figures.push(await load(way, size, options.windowMs, pids));
    }
    rows.push(...ways.map((way, i) => toRow(way, size, figures, i)));
  }
  const header = ['', 'in flight', 'publications/s', '× plain Redis', 'p50 ms', 'p99 ms', 'publisher µs', 'server µs', 'Redis µs'];
  console.log(formatTable(header, rows));
}

function waysOf({ events }: Awaited<ReturnType<typeof connect>>, connection: Redis): Way[] {
  const addAndPublish = (channel: string, json: string) => {
    const transaction = connection.multi().xadd(channel, 'MAXLEN', '~', HISTORY.size, '*', 'data', json);
    return transaction.publish(channel, json).exec();
  };
  return [
    { title: 'plain Redis, PUBLISH', plain: 0, publish: (channel, data) => connection.publish(channel, JSON.stringify(data)) },
    { title: 'Stafett, without history', plain: 0, publish: (channel, data) => events.publish(channel, data) },
    { title: 'plain Redis, XADD and PUBLISH', plain: 2, publish: (channel, data) => addAndPublish(channel, JSON.stringify(data)) },
    { title: 'Stafett, with history', plain: 2, publish: (channel, data) => events.publish(channel, data, { history: HISTORY }) },
  ];
}

function toRow({ title, plain }: Way, size: number, figures: readonly LaneFigures[], i: number): string[] {
  const { perSecond, p50, p99, cpu } = figures[i] as LaneFigures;
  const ratio = formatRatio(perSecond / (figures[plain] as LaneFigures).perSecond);
  const [publisher, server, redis] = cpu.map(formatNumber) as [string, string, string];
  return [title, `${size}`, formatNumber(perSecond), ratio, formatMs(p50), formatMs(p99), publisher, i === plain ? '' : server, redis];
}

let published = 0;

function load({ title, publish }: Way, size: number, windowMs: number, pids: readonly number[]): Promise<LaneFigures> {
  const channel = `publications/${title.replaceAll(/\W+/g, '-')}`;
  return runLanes(size, windowMs, pids, () => publish(channel, toMark(published++)));
}
