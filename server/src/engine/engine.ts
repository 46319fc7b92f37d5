import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { RedisConnection } from '../redis/connection.js';
import { NAMESPACES_KEY, parseEpochPrefix, parseWitness, serverChannel, WITNESS_KEY } from '../redis/keys.js';
import { type Library, loadLibrary } from '../redis/scripts.js';
import type { Subscriber } from '../redis/subscriber.js';
import { shuttingDown, tooManyNamespaces } from '../rpc/errors.js';
import { decodeBatch, decodeMessage, encodeBatch } from './codec.js';
import type { BatchReply, Command, EngineLimits, Pass } from './commands.js';
import { EngineMetrics } from './engine-metrics.js';
import { Epoch } from './epoch.js';
import { NamespaceEngine } from './namespace-engine.js';
import { RedisClock } from './redis-clock.js';

/** How often a Redis that refuses to work is told, ms. */
const WARN_EVERY_MS = 5_000;
/** How often to look whether Redis has lost its data, ms. */
const WITNESS_MS = 1_000;
/** How often namespaces that other servers began to use are looked up, ms. */
const NAMESPACES_MS = 60_000;

export interface EngineOptions {
  readonly connection: RedisConnection;
  readonly subscriber: Subscriber;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly limits: EngineLimits;
  /** The longest that a session may live without a keepalive, ms. */
  readonly maxTtlMs: number;
  /** The Redis that is met first has been used by nobody before. */
  readonly redisIsNew: boolean;
}

/** All namespaces of this server, over one connection for commands and one subscription for what others caused. */
export class Engine {
  readonly serverId = randomBytes(8).toString('base64url');
  readonly #options: EngineOptions;
  readonly #library: Library = loadLibrary(new URL('./scripts/engine.lua', import.meta.url), 'stafett');
  readonly #namespaces = new Map<string, NamespaceEngine>();
  readonly #metrics: EngineMetrics;
  readonly #stops: (() => unknown)[] = [];
  readonly #listeners: ((engine: NamespaceEngine) => void)[] = [];
  readonly #clock = new RedisClock();
  /** The highest token that this server has seen, so that tokens grow though Redis should forget. */
  #seen = 0;
  #closed = false;
  /** When it was asked last, Redis had what was written in this life of its data. */
  #witnessed = false;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#metrics = new EngineMetrics(options.registry);
  }

  async start(): Promise<void> {
    const { connection, subscriber } = this.#options;
    this.#clock.belongsTo(connection.run);
    this.#stops.push(await subscriber.subscribe(serverChannel(this.serverId), (message) => this.#onMessage(message)));
    this.#stops.push(subscriber.onReconnect(() => this.#forAll((engine) => engine.recheck())));
    this.#stops.push(
      connection.onStateChange((ready) => {
        if (ready) this.#clock.belongsTo(connection.run);
        this.#forAll((engine) => engine.setReady(ready));
        if (ready) this.#register([...this.#namespaces.keys()]);
      }),
    );
    await this.#adoptNamespaces();
    const adoption = setInterval(() => this.#adoptNamespaces().catch(() => {}), NAMESPACES_MS).unref();
    const witnessing = setInterval(() => this.#askWitness().catch(() => {}), WITNESS_MS).unref();
    this.#stops.push(
      () => clearInterval(adoption),
      () => clearInterval(witnessing),
    );
  }

  /** @throws {StafettError} TOO_MANY_NAMESPACES */
  namespace(name: string): NamespaceEngine {
    let engine = this.#namespaces.get(name);
    if (!engine) {
      if (this.#namespaces.size >= this.#options.limits.maxNamespaces) throw tooManyNamespaces();
      engine = this.#open(name);
      this.#register([name]);
    }
    return engine;
  }

  /** Told of each namespace from now on, as soon as this server knows it. */
  onOpen(listener: (engine: NamespaceEngine) => void): void {
    this.#listeners.push(listener);
    this.#forAll(listener);
  }

  /** Refuses what is still under way. */
  close(): void {
    this.#closed = true;
    for (const stop of this.#stops) void stop();
    this.#forAll((engine) => engine.close(shuttingDown()));
  }

  #open(namespace: string): NamespaceEngine {
    const { connection, logger, maxTtlMs, redisIsNew } = this.#options;
    const epoch: Epoch = new Epoch({
      namespace,
      connection,
      logger,
      redisIsNew,
      clock: this.#clock,
      library: this.#library,
      graceMs: maxTtlMs,
      onChange: () => engine.onNewEpoch(),
    });
    const engine: NamespaceEngine = new NamespaceEngine({
      namespace,
      epoch,
      lockRetentionMs: this.#options.limits.lockRetentionMs,
      send: (commands) => this.#send(epoch, commands),
      onStats: (name, reply) => this.#metrics.onReply(name, reply),
      onCounts: (name, counts) => this.#metrics.setCounts(name, counts),
    });
    this.#namespaces.set(namespace, engine);
    engine.setReady(connection.ready);
    for (const listener of this.#listeners) listener(engine);
    return engine;
  }

  /** Asks again as long as what this server believes turns out to be mistaken. */
  async #send(epoch: Epoch, commands: Command[]): Promise<BatchReply> {
    while (true) {
      const found = epoch.pass();
      const pass = found instanceof Promise ? await found : found; // a promise each time would cost
      const sentAt = performance.now();
      const batch = encodeBatch({ serverId: this.serverId, seen: this.#seen, limits: this.#options.limits, commands, pass });
      const reply = decodeBatch(await this.#call([pass.prefix, epoch.gate], batch));
      const receivedAt = performance.now();
      if ('mistaken' in reply) {
        if (reply.mistaken === 'epoch') epoch.doubt(pass.epoch);
        else await this.#lookAtClock(pass);
        continue;
      }
      this.#clock.observe(reply.now, sentAt, receivedAt);
      if (reply.seq > this.#seen) this.#seen = reply.seq;
      this.#metrics.onBatch(commands.length, receivedAt - sentAt);
      return reply;
    }
  }

  /** A call that came late looks like a clock that was set. Only if it was, the deadlines in Redis are void. */
  async #lookAtClock({ run, toleranceMs }: Pass): Promise<void> {
    const { connection, logger } = this.#options;
    const sentAt = performance.now();
    const [seconds, micros] = await connection.command<[string, string]>('TIME');
    const receivedAt = performance.now();
    const now = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    if (connection.run !== run) return;
    if (!this.#clock.wasSet(now, sentAt, receivedAt, toleranceMs)) {
      this.#clock.observe(now, sentAt, receivedAt);
      return;
    }
    logger.warn({ byMs: now - this.#clock.expected() }, 'the clock of Redis was set; all namespaces begin a new epoch');
    this.#clock.forget();
    for (const { epoch } of this.#namespaces.values()) epoch.replace();
  }

  async #call(keys: string[], batch: Buffer): Promise<Buffer> {
    const { connection, logger } = this.#options;
    try {
      return (await connection.callFunction(this.#library, '', keys, [batch])) as Buffer;
    } catch (error) {
      // The loss of a connection is told where it happens; this is a Redis that is there and refuses to work.
      if (connection.ready && performance.now() - this.#warnedAt > WARN_EVERY_MS) {
        this.#warnedAt = performance.now();
        const cause = error instanceof Error ? error.cause : undefined;
        logger.warn({ problem: cause instanceof Error ? cause.message : String(error) }, 'Redis refuses to work; trying again');
      }
      throw error;
    }
  }

  #onMessage(message: Buffer): void {
    const [prefix, events] = decodeMessage(message);
    const { namespace, epoch } = parseEpochPrefix(prefix);
    const engine = this.#namespaces.get(namespace);
    if (engine?.epoch.id !== epoch) return; // of an epoch that is over, or that the outbox will tell of
    for (const event of events) engine.deliver(event);
  }

  /** Namespaces of earlier or other servers may hold what only time can end: somebody has to look. */
  async #adoptNamespaces(): Promise<void> {
    const names = await this.#options.connection.command<string[]>('SMEMBERS', NAMESPACES_KEY);
    for (const name of names) {
      if (!this.#closed && !this.#namespaces.has(name)) this.#open(name);
    }
  }

  /** A flush breaks no connection. Who has nothing to ask would hear of it only at the next keepalive. */
  async #askWitness(): Promise<void> {
    const { connection } = this.#options;
    if (this.#namespaces.size === 0 || !connection.ready) return;
    const before = this.#witnessed;
    this.#witnessed = parseWitness(await connection.command<string | null>('GET', WITNESS_KEY))?.run === connection.run;
    if (before && !this.#witnessed) this.#forAll((engine) => engine.sweep());
  }

  #register(names: string[]): void {
    if (names.length === 0) return;
    this.#options.connection.command('SADD', NAMESPACES_KEY, ...names).catch((error) => {
      this.#options.logger.debug({ err: error }, 'could not note the namespace; will be tried on reconnect');
    });
  }

  #forAll(action: (engine: NamespaceEngine) => void): void {
    for (const engine of this.#namespaces.values()) action(engine);
  }
}
