import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Rng } from '../support/rng.js';
import { startServer, type TestServer } from '../support/stack.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import type { ChaosEvent, Told } from './events.js';
import { Register } from './register.js';
import { NAMES } from './settings.js';

const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url));
const LANES = 3;

export interface WorldOptions {
  readonly rng: Rng;
  readonly servers: number;
  readonly clients: number;
  readonly ttlMs: number;
  readonly fencing: boolean;
  readonly assertHeld: boolean;
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
  readonly #namespace = freshNamespace();
  #started = 0;

  private constructor(
    readonly options: WorldOptions,
    readonly redis: TestRedis,
    /** Between servers and Redis. */
    readonly back: TcpProxy,
    readonly store: TestRedis,
  ) {}

  static async start(options: WorldOptions): Promise<World> {
    const [redis, store] = [await startRedis(), await startRedis()];
    const world = new World(options, redis, await startTcpProxy({ host: redis.host, port: redis.port }), store);
    for (let i = 0; i < options.servers; i++) {
      const running = await world.startServer();
      world.servers.push({ running, front: await startTcpProxy({ port: running.grpcPort }) });
    }
    await Promise.all(Array.from({ length: options.clients }, (_, i) => world.startClient(i)));
    return world;
  }

  /** At the address of the one before, if there was one. */
  startServer(before?: TestServer): Promise<TestServer> {
    return startServer({
      redis: `redis://127.0.0.1:${this.back.port}`,
      env: { STAFETT_MAX_TTL: `${this.options.ttlMs}ms`, STAFETT_DRAIN_TIMEOUT: '3s', STAFETT_REDIS_IS_NEW: 'false' },
      ...(this.options.dist !== undefined && { dist: this.options.dist }),
      ...(before && { grpcPort: before.grpcPort, httpPort: before.httpPort }),
    });
  }

  async startClient(slot: number): Promise<void> {
    const { rng, ttlMs, fencing, assertHeld } = this.options;
    const name = `client-${slot}-${++this.#started}`;
    const addresses = rng.shuffle(this.servers.map(({ front }) => front.address));
    const common = { namespace: this.#namespace, storePort: this.store.port, ttlMs, lanes: LANES, fencing, assertHeld };
    const settings = JSON.stringify({ ...common, name, addresses, seed: rng.int(0, 2 ** 31) });
    const child = startProcess(process.execPath, ['--import', 'tsx', CLIENT, settings], plainEnv());
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
      const stub = connectStub(running, this.#namespace);
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
