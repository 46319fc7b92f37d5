import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { Cache } from '../../clients/typescript/src/cache.js';
import { CacheStore } from '../../clients/typescript/src/cache-store.js';
import { CacheChecker } from '../support/cache-checker.js';
import { connectClient, gate } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Rng } from '../support/rng.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

// Issue 5: random writes, invalidations, reconnects and Redis restarts; no read is older than the bound. And the check can fail.

const STALENESS_MS = 1_000;
const PATIENT = { timeoutMs: 20_000 };

let stack: TestStack;
let second: TestServer;

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_MAX_TTL: '2s' } });
  second = await stack.addServer();
});

interface Node {
  readonly cache: Cache<number>;
  /** Before its server. */
  readonly proxy: TcpProxy;
}

/** Nodes with a cache each, at different servers. */
async function createNodes(checker: CacheChecker, count: number): Promise<Node[]> {
  const namespace = freshNamespace();
  const nodes: Node[] = [];
  for (let i = 0; i < count; i++) {
    const proxy = await startTcpProxy({ port: (i % 2 ? second : stack.server).grpcPort });
    nodes.push({ proxy, cache: checker.cacheOf(await connectClient([proxy], { namespace, ttl: '2s' })) });
  }
  await eventually('the caches to be confirmed', () => nodes.every(({ cache }) => cache.isConfirmed && cache.stats.resets > 0));
  return nodes;
}

const FAULTS: ((nodes: Node[], rng: Rng) => Promise<unknown>)[] = [
  async (nodes, rng) => rng.pick(nodes).proxy.cut(),
  async (nodes, rng) => {
    const { proxy } = rng.pick(nodes);
    proxy.pause('down');
    await sleep(rng.int(200, 1_500));
    proxy.resume('down');
  },
  async () => stack.redis.client().flushall(),
  async () => stack.redis.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
  async (_, rng) => {
    await stack.redis.kill();
    await sleep(rng.int(0, 300));
    await stack.redis.start();
  },
  async (_, rng) => {
    second.pause();
    await sleep(rng.int(200, 1_500));
    second.resume();
  },
];

test('no read is older than the bound, whatever breaks', { timeout: 60_000, retry: 0 }, async () => {
  const rng = new Rng();
  const checker = new CacheChecker(STALENESS_MS, rng.fork());
  const nodes = await createNodes(checker, 3);
  const caches = nodes.map(({ cache }) => cache);
  const running = checker.run(caches);
  const sum = (what: 'hits' | 'resets') => caches.reduce((total, { stats }) => total + stats[what], 0);
  await eventually('the caches to be of use', () => sum('hits') > 20, PATIENT);
  const before = sum('resets');
  for (const fault of rng.shuffle([...FAULTS, ...FAULTS.slice(0, 2)])) {
    await fault(nodes, rng);
    await sleep(rng.int(100, 500));
  }
  const hits = sum('hits');
  await eventually('the caches to be of use again', () => sum('hits') > hits + 20, PATIENT);
  checker.stop();
  await running;
  console.log(`fault: caches: ${checker.reads} reads, ${checker.writes} writes, ${checker.stale.length} of the reads too old`);
  expect(checker.stale).toEqual([]);
  expect(sum('resets')).toBeGreaterThanOrEqual(before + caches.length); // it did have the occasion
});

describe('the checker', () => {
  const KEY = 'a';
  let checker: CacheChecker;
  let cache: Cache<number>;
  let other: Cache<number>;
  let proxy: TcpProxy;

  afterEach(() => {
    vi.restoreAllMocks();
  });

  async function begin(): Promise<void> {
    checker = new CacheChecker(STALENESS_MS, new Rng(1));
    const [one, two] = (await createNodes(checker, 2)) as [Node, Node];
    ({ cache, proxy } = one);
    other = two.cache;
  }

  async function readLater(): Promise<void> {
    await sleep(STALENESS_MS + 100);
    await checker.readOnce(cache, KEY);
  }

  /** Is changed while it is being loaded. */
  async function changeUnderWay(): Promise<void> {
    await begin();
    const { open, opened } = gate();
    checker.hold = opened;
    const reading = checker.readOnce(cache, KEY);
    await eventually('the load', () => cache.stats.loads > 0);
    await sleep(100); // it has read the old version
    await checker.change(other, KEY);
    await eventually('the invalidation', () => cache.stats.invalidations > 0);
    open();
    await reading;
    await readLater();
  }

  /** Is changed while the node is cut off. */
  async function changeUnheard(): Promise<void> {
    await begin();
    await checker.readOnce(cache, KEY);
    proxy.pause();
    await checker.change(other, KEY);
    await readLater();
    proxy.cut();
    proxy.resume();
  }

  /** Is changed while the node is cut off, and Redis forgets it. */
  async function changeForgotten(): Promise<void> {
    await begin();
    await checker.readOnce(cache, KEY);
    const { resets } = cache.stats;
    proxy.refuse();
    proxy.cut();
    await checker.change(other, KEY);
    await stack.redis.client().flushall();
    await proxy.accept();
    await eventually('the reset', () => cache.stats.resets > resets);
    await eventually('the cache to be confirmed', () => cache.isConfirmed);
    await readLater();
  }

  test('finds nothing if nothing is wrong', async () => {
    for (const scenario of [changeUnderWay, changeUnheard, changeForgotten]) {
      await scenario();
      expect(checker.stale).toEqual([]);
    }
  }, 60_000);

  test('finds that a load under way is stored though it was invalidated', async () => {
    const load = CacheStore.prototype.load;
    vi.spyOn(CacheStore.prototype, 'load').mockImplementation(async function storing(this: CacheStore<unknown>, key, loader, since) {
      const value = await load.call(this, key, loader, since);
      this.put(key, { value, tags: [], requestId: '' });
      return value;
    });
    await changeUnderWay();
    expect(checker.stale).toMatchObject([{ key: KEY, got: 0, expected: 1 }]);
  });

  test('finds that a gap is not told', async () => {
    vi.spyOn(CacheStore.prototype, 'clear').mockImplementation(() => {});
    await changeForgotten();
    expect(checker.stale).toMatchObject([{ key: KEY, got: 0, expected: 1 }]);
  });

  test('finds that entries are used while nobody confirms them', async () => {
    vi.spyOn(Cache.prototype, 'isConfirmed', 'get').mockReturnValue(true);
    await changeUnheard();
    expect(checker.stale).toMatchObject([{ key: KEY, got: 0, expected: 1 }]);
  });
});
