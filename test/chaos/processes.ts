import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterState, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { type NodeProcess, startNode, type ToldWorkerEvent } from '../support/node-process.js';
import { findOverruns, toRuns } from '../support/overruns.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Rng } from '../support/rng.js';
import { startServer, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// The chaos run of managed processes: real nodes, servers and Redis, hurt at random, while an admin changes his mind.

const TTL_MS = 2_000;
const WORKERS_MAX = 6;
const NODES = 3;
/** After the last fault: until sessions have run out, a grace period is over, and a busy machine has caught up, ms. */
const CALM_MS = 60_000;

export interface ProcessChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Names of FAULTS. Default: all. */
  readonly faults?: readonly string[];
  /** Of a sabotaged server. */
  readonly dist?: string;
}

export interface ProcessChaosReport {
  readonly violations: readonly string[];
  readonly faults: ReadonlyMap<string, number>;
  /** How many workers there were in all. */
  readonly runs: number;
}

class World {
  readonly events: ToldWorkerEvent[] = [];
  readonly servers: TestServer[] = [];
  readonly nodes: (NodeProcess | undefined)[] = Array(NODES).fill(undefined);
  readonly namespace = freshNamespace();
  #started = 0;

  constructor(
    readonly rng: Rng,
    readonly redis: TestRedis,
    readonly dist: string | undefined,
  ) {}

  async startServer(i: number): Promise<void> {
    const before = this.servers[i];
    this.servers[i] = await startServer({
      redis: this.redis,
      env: { STAFETT_MAX_TTL: `${TTL_MS}ms`, STAFETT_REDIS_IS_NEW: 'false', STAFETT_DRAIN_TIMEOUT: '3s' },
      ...(this.dist !== undefined && { dist: this.dist }),
      ...(before && { grpcPort: before.grpcPort, httpPort: before.httpPort }),
    });
  }

  async startNode(i: number): Promise<void> {
    const addresses = this.rng.shuffle(this.servers.map(({ address }) => address));
    const name = `node-${i}-${++this.#started}`;
    const { namespace, rng } = this;
    const settings = { name, addresses, namespace, ttlMs: TTL_MS, workers: 4, capacity: rng.int(2, 5), stopMs: rng.int(0, 300) };
    this.nodes[i] = await startNode(settings, this.events);
  }
}

type Fault = (world: World, admin: Stafett) => Promise<unknown>;

/** By name. */
const FAULTS: Readonly<Record<string, Fault>> = {
  scale: ({ rng }, admin) => update(admin, { workers: rng.int(2, WORKERS_MAX) }),
  'stop-and-start': async ({ rng }, admin) => {
    await update(admin, { status: 'stopped' });
    await sleep(rng.int(0, 500));
    await update(admin, { status: 'running' });
  },
  'kill-node': (world) => replaceNode(world, 'SIGKILL'),
  'leave-and-join': (world) => replaceNode(world, 'SIGTERM'),
  'freeze-node': async ({ rng, nodes }) => {
    const node = rng.pick(nodes);
    node?.process.pause();
    await sleep(rng.int(500, 4_000));
    node?.process.resume();
  },
  'kill-server': async (world) => {
    const i = world.rng.int(0, world.servers.length - 1);
    await world.servers[i]?.kill();
    await world.startServer(i);
  },
  'freeze-server': async ({ rng, servers }) => {
    const server = rng.pick(servers);
    server.pause();
    await sleep(rng.int(200, 3_000));
    server.resume();
  },
  'restart-redis': async ({ redis }) => {
    await redis.kill();
    await redis.start();
  },
};

async function update(admin: Stafett, change: Parameters<Stafett['processes']['update']>[1]): Promise<void> {
  await admin.processes.update('p', change).catch(() => {}); // while nothing answers, nothing changes
}

async function replaceNode(world: World, signal: NodeJS.Signals): Promise<void> {
  const i = world.rng.int(0, NODES - 1);
  await world.nodes[i]?.process.kill(signal);
  await world.startNode(i);
}

/** Hurts a small world for a while, then leaves it in peace, and looks at what its workers did. */
export async function runProcessChaos({
  seed,
  seconds,
  dist,
  faults = Object.keys(FAULTS),
}: ProcessChaosOptions): Promise<ProcessChaosReport> {
  const rng = new Rng(seed);
  const world = new World(rng.fork(), await startRedis(), dist);
  await Promise.all([0, 1].map((i) => world.startServer(i)));
  await Promise.all(world.nodes.map((_, i) => world.startNode(i)));
  const admin = await connectClient(world.servers, { namespace: world.namespace, ttl: TTL_MS });
  const done = new Map<string, number>();
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const chosen = rng.sample(faults, rng.chance(0.3) ? 2 : 1);
    for (const name of chosen) done.set(name, (done.get(name) ?? 0) + 1);
    await Promise.all(chosen.map((name) => FAULTS[name]?.(world, admin)));
    await sleep(rng.int(100, 800));
  }
  const violations = findOverruns(world.events, WORKERS_MAX);
  if (violations.length === 0) {
    await recover(admin).catch((error: Error) => violations.push(`forgotten: ${error.message}`));
    violations.push(...findOverruns(world.events, WORKERS_MAX));
  }
  return { violations, faults: done, runs: toRuns(world.events).length };
}

/** All workers that fit run again, spread evenly. */
async function recover(admin: Stafett): Promise<void> {
  await eventually('an answer', () => admin.processes.update('p', { workers: 5, status: 'running' }), { timeoutMs: CALM_MS });
  let seen: ClusterState | undefined;
  const settled = async () => {
    seen = await admin.processes.get('p');
    const { nodes, runningWorkers, assignedSlots } = seen;
    const active = nodes.map(({ activeWorkers }) => activeWorkers);
    return nodes.length === NODES && runningWorkers === 5 && assignedSlots === 5 && Math.max(...active) - Math.min(...active) <= 1;
  };
  await eventually('five workers, spread evenly', settled, { timeoutMs: CALM_MS, intervalMs: 50 }).catch((error: Error) => {
    const text = JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    throw new Error(`${error.message}: ${text}`);
  });
}
