import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { onCleanup } from './cleanup.js';
import type { RedisBackend } from './redis-backend.js';
import { defaultRedisKind, type RedisKind } from './redis-kind.js';

/** A Redis for tests alone: empty, without a disk. It is ended with the test, or with the file, that started it. */
export interface TestRedis {
  readonly kind: RedisKind;
  /** For REDIS_URL. Host and port stay the same when it is started again. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** A connection of the test's own, closed by `stop`. */
  client(options?: RedisOptions): Redis;
  /** It is there, but answers nobody (SIGSTOP). */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it, by default as a power failure would, and waits until it has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again at the same address, after `kill`. It has forgotten everything. */
  start(): Promise<void>;
  /** Removes everything. More than once is fine. */
  stop(): Promise<void>;
}

export interface TestRedisOptions {
  /** Default: STAFETT_TEST_REDIS, else private. */
  readonly kind?: RedisKind;
  /** More of its configuration, e.g. `['--maxmemory', '10mb']`. */
  readonly args?: readonly string[];
  /** More of its environment. Only of a private one. */
  readonly env?: Readonly<Record<string, string>>;
}

const START_TIMEOUT_MS = 20_000;
const START_TRIES = 3;

/** Starts a Redis and waits until it answers. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const kind = options.kind ?? defaultRedisKind();
  for (let i = 1; ; i++) {
    const backend = await createBackend(kind, options);
    const redis = new RunningRedis(backend);
    onCleanup(() => redis.stop());
    try {
      await redis.start();
      return redis;
    } catch (error) {
      await redis.stop();
      // Somebody else took the port in the meantime.
      if (i === START_TRIES || !/already in use/i.test(String(error))) throw error;
    }
  }
}

/** Testcontainers is only loaded where it is used. */
async function createBackend(kind: RedisKind, { args = [], env }: TestRedisOptions): Promise<RedisBackend> {
  if (kind === 'docker') return (await import('./redis-docker.js')).createDockerRedis(args);
  return (await import('./redis-private.js')).createPrivateRedis(args, env);
}

class RunningRedis implements TestRedis {
  readonly #clients: Redis[] = [];
  #stopped = false;

  constructor(readonly backend: RedisBackend) {}

  get kind(): RedisKind {
    return this.backend.kind;
  }

  get host(): string {
    return this.backend.host;
  }

  get port(): number {
    return this.backend.port;
  }

  get url(): string {
    return `redis://${this.host}:${this.port}`;
  }

  client(options: RedisOptions = {}): Redis {
    const client = new Redis({ host: this.host, port: this.port, ...options });
    client.on('error', () => {}); // told by what is asked of it
    this.#clients.push(client);
    return client;
  }

  pause(): Promise<void> {
    return this.backend.signal('SIGSTOP');
  }

  resume(): Promise<void> {
    return this.backend.signal('SIGCONT');
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const ended = this.backend.ended();
    await this.backend.signal(signal);
    await ended;
  }

  async start(): Promise<void> {
    await this.backend.start();
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#answers())) {
      const problem = await this.backend.problem();
      if (problem !== undefined) throw new Error(problem);
      if (performance.now() > deadline) throw new Error(`the test's Redis at ${this.url} does not answer`);
      await sleep(10);
    }
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const client of this.#clients) client.disconnect();
    await this.backend.remove();
  }

  async #answers(): Promise<boolean> {
    const probe = new Redis({ host: this.host, port: this.port, lazyConnect: true, retryStrategy: () => null, connectTimeout: 1_000 });
    probe.on('error', () => {});
    try {
      await probe.connect();
      return this.backend.owns(await probe.info('server'));
    } catch {
      return false;
    } finally {
      probe.disconnect();
    }
  }
}
