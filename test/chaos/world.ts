import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { createFakeClock, type FakeClock } from '../support/fake-clock.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { compiledProgram } from '../support/program.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Rng } from '../support/rng.js';
import { startServer, type TestServer } from '../support/stack.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { ClusterSite } from './cluster-site.js';
import { type ChaosEvent, monotonicUs, type Told } from './events.js';
import { Observer } from './observer.js';
import type { Era } from './order.js';
import { Register } from './register.js';
import { SentinelSite } from './sentinel-site.js';
import { NAMES } from './settings.js';
import { SingleSite, type Site, type SiteKind } from './site.js';

const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url));
/** Until everybody has heard of the end of a grace period. */
const GRACE_MARGIN_MS = 1_000;

export interface WorldOptions {
  readonly rng: Rng;
  readonly redis: SiteKind;
  readonly servers: number;
  readonly clients: number;
  readonly lanes: number;
  readonly ttlMs: number;
  readonly workMsMax: number;
  readonly stallMsMax: number;
  readonly fencing: boolean;
  readonly deadline: boolean;
  /** False: locks only. */
  readonly news: boolean;
  /** Of a sabotaged server. */
  readonly dist?: string;
}

export interface ChaosClient {
  readonly name: string;
  readonly process: TestProcess;
}

export interface ChaosServer {
  running: TestServer;
  /** Between clients and it. */
  readonly front: TcpProxy;
}

/** Everything that can be hurt, and what it told. */
export class World {
  readonly events: Told[] = [];
  readonly servers: ChaosServer[] = [];
  readonly clients: (ChaosClient | undefined)[] = [];
  /** When Redis forgot, or its clock was set. */
  readonly eras: Era[] = [];
  /** When Redis forgot while servers were ended: what only those knew may be lost. */
  readonly losses: Era[] = [];
  readonly observer: Observer;
  #started = 0;
  #redisFaults: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly options: WorldOptions,
    readonly namespace: string,
    /** Where the servers keep their state. */
    readonly site: Site,
    readonly store: TestRedis,
    /** Of the host of a single Redis. */
    readonly clock: FakeClock | undefined,
  ) {
    this.observer = new Observer(this.servers, this.namespace, options.rng.fork());
  }

  static async start(options: WorldOptions): Promise<World> {
    const namespace = freshNamespace();
    const clock = options.redis === 'single' ? createFakeClock() : undefined;
    const world = new World(options, namespace, await startSite(options.redis, namespace, clock), await startRedis(), clock);
    for (let i = 0; i < options.servers; i++) {
      const running = await world.startServer();
      world.servers.push({ running, front: await startTcpProxy({ port: running.grpcPort }) });
    }
    await Promise.all(Array.from({ length: options.clients }, (_, i) => world.startClient(i)));
    void world.observer.run();
    return world;
  }

  /** What is done to the process of Redis is done one after the other. */
  toRedis<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#redisFaults.then(act);
    this.#redisFaults = done.catch(() => {});
    return done;
  }

  /** Redis forgets, or its clock is set: a new epoch. */
  async newEpoch(act: () => Promise<void>): Promise<void> {
    const era = { from: monotonicUs(), to: Number.POSITIVE_INFINITY };
    this.eras.push(era);
    await act();
    era.to = monotonicUs() + (this.options.ttlMs + GRACE_MARGIN_MS) * 1_000;
  }

  /** At the address of the one before, if there was one. */
  startServer(before?: TestServer): Promise<TestServer> {
    return startServer({
      redis: this.site.url,
      env: { STAFETT_MAX_TTL: `${this.options.ttlMs}ms`, STAFETT_DRAIN_TIMEOUT: '3s', STAFETT_REDIS_IS_NEW: 'false' },
      ...(this.options.dist !== undefined && { dist: this.options.dist }),
      ...(before && { grpcPort: before.grpcPort, httpPort: before.httpPort }),
    });
  }

  async startClient(slot: number): Promise<void> {
    const { rng, lanes, ttlMs, workMsMax, stallMsMax, fencing, deadline, news } = this.options;
    const name = `client-${slot}-${++this.#started}`;
    const addresses = rng.shuffle(this.servers.map(({ front }) => front.address));
    const common = {
      namespace: this.namespace,
      storePort: this.store.port,
      ttlMs,
      lanes,
      workMsMax,
      stallMsMax,
      fencing,
      deadline,
      news,
    };
    const settings = JSON.stringify({ ...common, name, addresses, seed: rng.int(0, 2 ** 31) });
    const child = startProcess(process.execPath, [compiledProgram(CLIENT), settings], plainEnv());
    onCleanup(() => child.kill('SIGKILL'));
    let ready = false;
    createInterface({ input: child.child.stdout as Readable }).on('line', (line) => {
      if (!line.endsWith('}')) return; // cut off by a kill
      const event = JSON.parse(line) as ChaosEvent;
      if (event.kind === 'ready') ready = true;
      else this.events.push({ ...event, client: name });
    });
    await eventually(`${name} to be ready`, () => ready || child.ended, { timeoutMs: 60_000 });
    if (child.ended) throw new Error(`${name} ended: ${child.stderr()}`);
    this.clients[slot] = { name, process: child };
  }

  /** Clients that have finished a transaction since then. µs. */
  successesSince(at: number): Map<string, number> {
    const first = new Map<string, number>();
    for (let i = this.events.length - 1; i >= 0; i--) {
      const event = this.events[i] as Told;
      if (event.kind !== 'done') continue;
      if (event.at < at - 60_000_000) break;
      if (event.at >= at && event.reason === undefined) first.set(event.client, event.at);
    }
    return first;
  }

  /** Each name, who has it, and how many wait, as each server tells. */
  async lockStates(): Promise<string> {
    const states = this.servers.map(async ({ running }) => {
      const stub = connectStub(running, this.namespace);
      const locks = await Promise.all(NAMES.map((name) => stub.getLock(name).catch(() => undefined)));
      return locks.map((lock) => `${lock?.name}: ${lock?.holder?.owner?.client ?? 'free'}, ${lock?.waiterCount} wait`).join('; ');
    });
    return (await Promise.all(states)).join(' | ');
  }

  async lostUpdates(kind: 'fenced' | 'plain'): Promise<number> {
    const store = this.store.client();
    const lost = await Promise.all(NAMES.map((name) => new Register(store, `${kind}:${name}`).lostUpdates()));
    return lost.reduce((sum, each) => sum + each, 0);
  }
}

function startSite(kind: SiteKind, namespace: string, clock: FakeClock | undefined): Promise<Site> {
  if (kind === 'cluster') return ClusterSite.start(namespace);
  return kind === 'sentinel' ? SentinelSite.start() : SingleSite.start(clock?.env ?? {});
}
