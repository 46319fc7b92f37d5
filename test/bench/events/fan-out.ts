import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@stafett/client';
import { Redis } from 'ioredis';
import type { CleanupStack } from '../harness/cleanup.js';
import { cpuSeconds } from '../harness/cpu.js';
import { residentBytes } from '../harness/memory.js';
import type { RedisServer } from '../harness/redis-server.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatRatio, formatTable } from '../harness/table.js';
import { Audience } from './audience.js';
import { toMark } from './mark.js';
import type { Options } from './options.js';

/** Of the subscribers, those that come before memory is measured: what the first cost is not what all cost. */
const FIRST = 0.1;
/** Publications, and for how long at the most. */
const WARM_UP = 100;
const WARM_UP_MS_MAX = 2_000;
/** Publications on their way while the throughput is measured. */
const IN_FLIGHT = 16;
const PAUSE_MS = 20;

interface Way {
  readonly title: string;
  readonly kind: 'stafett' | 'redis';
  readonly connections: number;
}

const WAYS: readonly Way[] = [
  { title: 'plain Redis pub/sub, a connection each', kind: 'redis', connections: 0 },
  { title: 'Stafett, a connection each', kind: 'stafett', connections: 0 },
  { title: 'Stafett, all over 10 connections', kind: 'stafett', connections: 10 },
];

interface Figures {
  readonly deliveriesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly bytesEach: number;
  /** For each delivery, µs: of the Stafett server, of Redis, of the subscribers. */
  readonly cpu: readonly number[];
}

interface Stage {
  readonly audience: Audience;
  /** Of those that subscribers are connected to. */
  readonly pid: number;
  publish(data: object): Promise<unknown>;
}

/** One publisher, many subscribers on one server, beside as many at Redis. */
export async function fanOut(redis: RedisServer, options: Options, nodeArgs: readonly string[], cleanup: CleanupStack): Promise<void> {
  const figures: Figures[] = [];
  for (const way of WAYS) figures.push(await measure(way, redis, options, nodeArgs, cleanup));
  const rows = WAYS.map(({ title, kind }, i) => {
    const { deliveriesPerSecond, p50, p99, bytesEach, cpu } = figures[i] as Figures;
    const ratio = deliveriesPerSecond / (figures[0] as Figures).deliveriesPerSecond;
    const [server, ofRedis, subscribers] = cpu.map(formatNumber);
    const memory = `${formatNumber(bytesEach / 1024)} KiB`;
    const times = [formatMs(p50), formatMs(p99)];
    return [
      title,
      formatNumber(deliveriesPerSecond),
      formatRatio(ratio),
      ...times,
      memory,
      kind === 'redis' ? '' : server,
      ofRedis,
      subscribers,
    ];
  });
  console.log(`\n## Fan-out, 1 → ${formatNumber(options.subscribers)} subscribers on one server\n`);
  const header = ['', 'delivered/s', '× plain Redis', 'p50 ms', 'p99 ms', 'memory each', 'server µs', 'Redis µs', 'subscribers µs'];
  console.log(formatTable(header, rows as string[][]));
}

async function measure(
  way: Way,
  redis: RedisServer,
  options: Options,
  nodeArgs: readonly string[],
  cleanup: CleanupStack,
): Promise<Figures> {
  const channel = `fan-out/${way.connections}`;
  const { audience, pid, publish, close } = await prepare(way, channel, redis, nodeArgs, cleanup);
  const stage = { audience, pid, publish };
  const first = Math.max(1, Math.floor(options.subscribers * FIRST));
  await audience.subscribe(first);
  let n = await oneByOne(stage, { from: 0, count: WARM_UP, pauseMs: 0, msMax: WARM_UP_MS_MAX });
  const bytesBefore = residentBytes(pid);
  await audience.subscribe(options.subscribers - first);
  n = await oneByOne(stage, { from: n, count: WARM_UP / 10, pauseMs: 0, msMax: WARM_UP_MS_MAX });
  const bytesEach = (residentBytes(pid) - bytesBefore) / (options.subscribers - first);
  await audience.report();
  n = await oneByOne(stage, { from: n, count: options.windowMs / PAUSE_MS, pauseMs: PAUSE_MS, msMax: 2 * options.windowMs });
  const { p50, p99 } = await audience.report();
  const pids = [pid, redis.pid, audience.pid];
  const rate = await flood(stage, n, options, pids);
  await close();
  return { p50, p99, bytesEach, ...rate };
}

/** Connects a publisher, on a server that had nothing else to do before. */
async function prepare(
  { kind, connections }: Way,
  channel: string,
  redis: RedisServer,
  nodeArgs: readonly string[],
  cleanup: CleanupStack,
) {
  if (kind === 'redis') {
    const publisher = new Redis(redis.url);
    const audience = new Audience({ kind, channel, connections, address: redis.url }, cleanup);
    const close = () => audience.close().finally(() => publisher.disconnect());
    return { audience, pid: redis.pid, publish: (data: object) => publisher.publish(channel, JSON.stringify(data)), close };
  }
  const server = await startStafett(redis.url, cleanup, nodeArgs);
  const client = await connect(server.grpcAddress);
  const audience = new Audience({ kind, channel, connections, address: server.grpcAddress }, cleanup);
  const close = () => audience.close().finally(() => client.close());
  return { audience, pid: server.pid, publish: (data: object) => client.events.publish(channel, data), close };
}

interface Pace {
  readonly from: number;
  readonly count: number;
  readonly pauseMs: number;
  readonly msMax: number;
}

/** Each one when all have the one before. Returns the next number. */
async function oneByOne({ audience, publish }: Stage, { from, count, pauseMs, msMax }: Pace): Promise<number> {
  const endAt = performance.now() + msMax;
  let n = from;
  for (; n < from + count && performance.now() < endAt; n++) {
    await Promise.all([audience.has(n), publish(toMark(n))]);
    if (pauseMs > 0) await sleep(pauseMs);
  }
  return n;
}

/** As many as are taken. */
async function flood({ audience, publish }: Stage, from: number, { windowMs, subscribers }: Options, pids: readonly number[]) {
  const cpuBefore = pids.map(cpuSeconds);
  const beganAt = performance.now();
  let n = from;
  const lane = async () => {
    while (performance.now() - beganAt < windowMs) {
      const next = n++;
      await Promise.all([audience.has(next), publish(toMark(next))]);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const seconds = (performance.now() - beganAt) / 1000;
  const deliveries = (n - from) * subscribers;
  const cpu = pids.map((pid, i) => (1e6 * (cpuSeconds(pid) - (cpuBefore[i] as number))) / deliveries);
  return { deliveriesPerSecond: deliveries / seconds, cpu };
}
