import { type Cache, connect, type Stafett } from '@stafett/client';
import { Redis } from 'ioredis';
import type { CleanupStack } from '../harness/cleanup.js';
import type { RedisServer } from '../harness/redis-server.js';
import { Samples } from '../harness/samples.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatRatio, formatTable } from '../harness/table.js';
import type { Options } from './options.js';

const WARM_UP_MS = 300;
/** How often it is looked whether the entry is gone, ms; a cache tells nobody. */
const LOOK_MS = 0.05;
const KEY = '42';

interface Way {
  readonly title: string;
  /** Resolves when it is confirmed to the one who asks. */
  invalidate(): Promise<unknown>;
  /** Has it arrived at the other node? */
  hasArrived(): boolean;
  /** Makes ready for another one. */
  renew(): Promise<unknown>;
}

interface Figures {
  readonly arrival: Samples;
  readonly confirmation: Samples;
}

/** From one node's `invalidate` until another node's cache has no entry any more, beside a bare message of Redis pub/sub between the two. */
export async function invalidation(
  redis: RedisServer,
  options: Options,
  nodeArgs: readonly string[],
  cleanup: CleanupStack,
): Promise<void> {
  const [home, other] = [await startStafett(redis.url, cleanup, nodeArgs), await startStafett(redis.url, cleanup, nodeArgs)];
  const [one, near, far] = [await connect(home.grpcAddress), await connect(home.grpcAddress), await connect(other.grpcAddress)];
  for (const client of [one, near, far]) cleanup.add(() => client.close());
  const cacheOf = ({ caches }: Stafett) => caches.create('bench', { max: 10, load: () => 'value' });
  const source = cacheOf(one);
  const ways = [
    await plainWay(redis.url, cleanup),
    wayTo('Stafett, two nodes at one server', source, cacheOf(near)),
    wayTo('Stafett, two nodes at two servers', source, cacheOf(far)),
  ];
  console.log('\n## Invalidation from node to node\n');
  const figures: Figures[] = [];
  for (const way of ways) {
    await measure(way, WARM_UP_MS);
    figures.push(await measure(way, options.windowMs));
  }
  print(ways, figures);
}

function print(ways: readonly Way[], figures: readonly Figures[]): void {
  const plain = figures[0]?.arrival.percentile(0.5) as number;
  const rows = ways.map(({ title }, i) => {
    const { arrival, confirmation } = figures[i] as Figures;
    const [p50, p99] = [arrival.percentile(0.5), arrival.percentile(0.99)];
    return [
      title,
      formatNumber(arrival.length),
      formatMs(p50),
      formatMs(p99),
      formatRatio(p50 / plain),
      formatMs(confirmation.percentile(0.5)),
    ];
  });
  console.log(formatTable(['', 'invalidations', 'p50 ms', 'p99 ms', '× plain Redis', 'confirmed, p50 ms'], rows));
}

function wayTo(title: string, source: Cache<string>, cache: Cache<string>): Way {
  return {
    title,
    invalidate: () => source.invalidate(KEY),
    hasArrived: () => cache.peek(KEY) === undefined,
    renew: async () => {
      while (cache.peek(KEY) === undefined) {
        await cache.get(KEY);
        await look();
      }
    },
  };
}

async function plainWay(url: string, cleanup: CleanupStack): Promise<Way> {
  const [publisher, subscriber] = [new Redis(url), new Redis(url)];
  for (const connection of [publisher, subscriber]) cleanup.add(() => connection.disconnect());
  let arrived = 0;
  let asked = 0;
  subscriber.on('message', () => arrived++);
  await subscriber.subscribe('invalidations');
  return {
    title: 'plain Redis pub/sub, one message',
    invalidate: () => publisher.publish('invalidations', `${++asked}`),
    hasArrived: () => arrived === asked,
    renew: () => Promise.resolve(),
  };
}

/** One after the other. */
async function measure({ invalidate, hasArrived, renew }: Way, windowMs: number): Promise<Figures> {
  const [arrival, confirmation] = [new Samples(), new Samples()];
  const endAt = performance.now() + windowMs;
  while (performance.now() < endAt) {
    await renew();
    const askedAt = performance.now();
    const confirmed = invalidate().then(() => confirmation.add(performance.now() - askedAt));
    while (!hasArrived()) await look();
    arrival.add(performance.now() - askedAt);
    await confirmed;
  }
  return { arrival, confirmation };
}

const nothing = new Int32Array(new SharedArrayBuffer(4));

/** A timer would wait for 1 ms, and a loop without any wait would take one of the cores from the servers. */
async function look(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  Atomics.wait(nothing, 0, 0, LOOK_MS);
}
