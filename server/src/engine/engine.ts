import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { RedisConnection } from '../redis/connection.js';
import { NAMESPACES_KEY, parseEpochPrefix, serverChannel } from '../redis/keys.js';
import type { Masters } from '../redis/masters.js';
import { isOnTheMove } from '../redis/redirection.js';
import { type Library, loadLibrary } from '../redis/scripts.js';
import { slotOf } from '../redis/slots.js';
import type { Subscriber } from '../redis/subscriber.js';
import { shuttingDown, tooManyNamespaces } from '../rpc/errors.js';
import { ClockWatch } from './clock-watch.js';
import { decodeBatch, decodeMessage, encodeBatch } from './codec.js';
import type { BatchReply, Command, EngineLimits } from './commands.js';
import { EngineMetrics } from './engine-metrics.js';
import { Epoch, type FullPass } from './epoch.js';
import { LossWatch } from './loss-watch.js';
import { NamespaceEngine } from './namespace-engine.js';
import { Room } from './room.js';

/** How often a Redis that refuses to work is told, ms. */
const WARN_EVERY_MS = 5_000;
/** How often namespaces that other servers began to use are looked up, ms. */
const NAMESPACES_MS = 60_000;
const NAMESPACES_SLOT = slotOf(NAMESPACES_KEY);

export interface EngineOptions {
  readonly masters: Masters;
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
  readonly #room = new Room();
  readonly #stops: (() => unknown)[] = [];
  readonly #listeners: ((engine: NamespaceEngine) => void)[] = [];
  /** The highest token that this server has seen, so that tokens grow though Redis should forget. */
  #seen = 0;
  #closed = false;
  /** Where the set of namespaces is can be reached. */
  #canRegister = false;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#metrics = new EngineMetrics(options.registry);
  }

  async start(): Promise<void> {
    const { masters, subscriber } = this.#options;
    this.#stops.push(await subscriber.subscribe(serverChannel(this.serverId), (message) => this.#onMessage(message)));
    this.#stops.push(subscriber.onReconnect(() => this.#forAll((engine) => engine.recheck())));
    this.#stops.push(masters.onChange(() => this.#onMasters()));
    await this.#adoptNamespaces().catch((error) => {
      if (!masters.cluster) throw error; // there others may have something to do
    });
    this.#canRegister = this.#registrar.ready;
    const adoption = setInterval(() => this.#adoptNamespaces().catch(() => {}), NAMESPACES_MS).unref();
    const lossWatch = new LossWatch(masters, this.#namespaces);
    const clockWatch = new ClockWatch(masters);
    this.#stops.push(
      () => clearInterval(adoption),
      () => lossWatch.stop(),
      () => clockWatch.stop(),
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
    const { masters, logger, maxTtlMs, redisIsNew } = this.#options;
    const epoch: Epoch = new Epoch({
      namespace,
      masters,
      logger,
      redisIsNew,
      library: this.#library,
      graceMs: maxTtlMs,
      onChange: () => engine.onNewEpoch(),
    });
    const engine: NamespaceEngine = new NamespaceEngine({
      namespace,
      epoch,
      lockRetentionMs: this.#options.limits.lockRetentionMs,
      room: this.#room,
      send: async (commands) => {
        try {
          return await this.#send(epoch, commands);
        } catch (error) {
          await this.#onRefusal(epoch, error);
          throw error;
        }
      },
      onStats: (name, reply) => this.#metrics.onReply(name, reply),
      onCounts: (name, counts) => this.#metrics.setCounts(name, counts),
    });
    this.#namespaces.set(namespace, engine);
    engine.follow();
    for (const listener of this.#listeners) listener(engine);
    return engine;
  }

  /** A master is there or not any more, or slots have another one. */
  #onMasters(): void {
    this.#forAll((engine) => engine.follow());
    const could = this.#canRegister;
    this.#canRegister = this.#registrar.ready;
    if (this.#canRegister && !could) this.#register([...this.#namespaces.keys()]);
  }

  /** Asks again as long as what this server believes turns out to be mistaken. */
  async #send(epoch: Epoch, commands: Command[]): Promise<BatchReply> {
    while (true) {
      const found = epoch.pass();
      const pass = found instanceof Promise ? await found : found; // a promise each time would cost
      const sentAt = performance.now();
      const batch = encodeBatch({ serverId: this.serverId, seen: this.#seen, limits: this.#options.limits, commands, pass });
      const keys = [pass.prefix, epoch.gate];
      const reply = decodeBatch((await pass.connection.callFunction(this.#library, '', keys, [batch])) as Buffer, commands);
      const receivedAt = performance.now();
      if ('mistaken' in reply) {
        if (reply.mistaken === 'epoch') epoch.doubt(pass.epoch);
        else await this.#lookAtClock(pass);
        continue;
      }
      epoch.confirm(sentAt);
      pass.connection.clock.observe(reply.now, sentAt, receivedAt);
      if (reply.seq > this.#seen) this.#seen = reply.seq;
      this.#metrics.onBatch(commands, receivedAt - sentAt);
      return reply;
    }
  }

  /** A call that came late looks like a clock that was set. Only if it was, the deadlines in Redis are void. */
  async #lookAtClock({ connection, run, toleranceMs }: FullPass): Promise<void> {
    const { clock } = connection;
    const sentAt = performance.now();
    const now = await connection.time();
    const receivedAt = performance.now();
    if (connection.run !== run) return;
    if (!clock.wasSet(now, sentAt, receivedAt, toleranceMs)) {
      clock.observe(now, sentAt, receivedAt);
      return;
    }
    this.#options.logger.warn({ byMs: now - clock.expected() }, 'the clock of Redis was set; all its namespaces begin a new epoch');
    clock.forget();
    for (const { epoch } of this.#namespaces.values()) if (epoch.connection === connection) epoch.replace();
  }

  /** The loss of a connection is told where it happens; this is a Redis that is there and refuses to work, or to work now. */
  async #onRefusal(epoch: Epoch, error: unknown): Promise<void> {
    if (isOnTheMove(error)) await epoch.suspend().catch(() => {}); // who is refused next tries again
    if (!epoch.connection.ready || performance.now() - this.#warnedAt <= WARN_EVERY_MS) return;
    this.#warnedAt = performance.now();
    const cause = error instanceof Error ? error.cause : undefined;
    this.#options.logger.warn({ problem: cause instanceof Error ? cause.message : String(error) }, 'Redis refuses to work; trying again');
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
    const names = await this.#registrar.command<string[]>('SMEMBERS', NAMESPACES_KEY);
    for (const name of names) {
      if (!this.#closed && !this.#namespaces.has(name)) this.#open(name);
    }
  }

  /** Who has the set of namespaces. */
  get #registrar(): RedisConnection {
    return this.#options.masters.at(NAMESPACES_SLOT);
  }

  #register(names: string[]): void {
    if (names.length === 0) return;
    this.#registrar.command('SADD', NAMESPACES_KEY, ...names).catch((error) => {
      this.#options.logger.debug({ err: error }, 'could not note the namespace; will be tried on reconnect');
    });
  }

  #forAll(action: (engine: NamespaceEngine) => void): void {
    for (const engine of this.#namespaces.values()) action(engine);
  }
}
