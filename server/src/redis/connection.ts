import { type Redis, ReplyError } from 'ioredis';
import type { Logger } from 'pino';
import { redisUnavailable } from '../rpc/errors.js';
import { closeClient, connectFirst, createClient, retryDelayMs, toCallerError } from './client.js';
import { lifeOf, MasterWatch, WATCHED_INFO } from './master-watch.js';
import { type Redirection, redirectionOf } from './redirection.js';
import { RedisClock } from './redis-clock.js';
import type { Library } from './scripts.js';
import { describeTarget, type MasterTarget } from './target.js';

/** Lives that are remembered after they were left. */
const LIVES_MAX = 100;

export interface RedisConnectionOptions {
  readonly target: MasterTarget;
  readonly logger: Logger;
  /** In a cluster: the process that is met first has been used by nobody before. */
  readonly isNew?: boolean;
  /** In a cluster: it does not serve a slot that it was asked for. */
  readonly onRedirection?: (redirection: Redirection) => void;
  /** How long `connect()` tries before it gives up, ms. Default 10 s. */
  readonly connectTimeoutMs?: number;
}

/**
 * The connection that runs scripts. It reconnects by itself, for ever. While it is down every command fails at once with
 * REDIS_UNAVAILABLE, and a command that was in flight when it broke fails so too, whether or not Redis carried it out.
 */
export class RedisConnection {
  /** Of the Redis process at the other end. */
  readonly clock = new RedisClock();
  readonly #redis: Redis;
  readonly #options: RedisConnectionOptions;
  readonly #listeners = new Set<(ready: boolean) => void>();
  #announced = false;
  #timesReady = 0;
  /** How often in a row there was nobody at the other end who can be used. */
  #unusable = 0;
  #leaving: NodeJS.Timeout | undefined;
  #closed = false;
  /** The life at the other end, and when it was met; those before it, the latest ones, and when they were left. By `performance.now()`. */
  #run = '';
  #metAt = 0;
  readonly #left = new Map<string, number>();
  readonly #watch: MasterWatch;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#watch = new MasterWatch(options.isNew ?? false);
    this.#redis = createClient(options.target, 'stafett', options.logger);
    this.#redis.on('ready', () => void this.#meet());
    this.#redis.on('close', () => {
      clearTimeout(this.#leaving);
      this.#announce(false);
    });
  }

  /**
   * Resolves when the connection is ready for the first time.
   * @throws {Error} for the operator: with the address and what to do about it.
   */
  async connect(): Promise<void> {
    const { target, connectTimeoutMs = 10_000 } = this.#options;
    await connectFirst(this.#redis, target, connectTimeoutMs);
    try {
      const info = await this.#redis.info('server');
      checkVersion(info, describeTarget(target));
      checkAlone(info, describeTarget(target));
    } catch (error) {
      this.close();
      throw error instanceof ReplyError ? mayNotAsk(describeTarget(target), error as Error) : error;
    }
    await this.whenReady(AbortSignal.timeout(connectTimeoutMs));
  }

  /** Begins to connect, and goes on trying. */
  begin(): void {
    this.#redis.connect().catch(() => {}); // told by the events
  }

  get ready(): boolean {
    return !this.#closed && this.#announced && this.#redis.status === 'ready';
  }

  /** The life of the data that commands go to: another one with another Redis process, or if that was a replica meanwhile. No command is sent before it is known. */
  get run(): string {
    return this.#run;
  }

  /** For how long commands have gone to this life, ms; Infinity if to no other since this server started. */
  get metMs(): number {
    return this.#left.size === 0 ? Number.POSITIVE_INFINITY : performance.now() - this.#metAt;
  }

  /** For how long commands had gone elsewhere when they came back to this life, and since then, ms; undefined if they never left it. */
  get leftMs(): number | undefined {
    const leftAt = this.#left.get(this.#run);
    return leftAt === undefined ? undefined : performance.now() - leftAt;
  }

  /** For how long the Redis process has been running, by its clock (ms), and what it may have lost meanwhile. @throws {StafettError} REDIS_UNAVAILABLE */
  async past(): Promise<{ now: number; upMs: number; flushed: boolean; wasReplica: boolean }> {
    const info = await this.command<string>('INFO', 'server', 'replication', 'commandstats');
    return {
      now: Math.ceil(Number(/^server_time_usec:(\d+)/m.exec(info)?.[1]) / 1000),
      upMs: Number(/^uptime_in_seconds:(\d+)/m.exec(info)?.[1] ?? 0) * 1000,
      flushed: /^cmdstat_(flushall|flushdb|debug|restore)\b/m.test(info),
      wasReplica: !/^master_replid2:0+\s/m.test(info),
    };
  }

  /**
   * Since when, by `performance.now()`, this connection knows the process as a master that was never flushed nor a replica in between.
   * @throws {StafettError} REDIS_UNAVAILABLE
   */
  async watchedSince(): Promise<number> {
    return this.#watch.look(await this.look());
  }

  /**
   * Looks whether there is still the same life at the other end, for a master may become a replica and a master again under a connection.
   * If not, connects again, as after a loss.
   * @returns the answer to INFO. @throws {StafettError} REDIS_UNAVAILABLE
   */
  async look(): Promise<string> {
    if (!this.ready) throw redisUnavailable();
    const info = await this.command<string>('INFO', ...WATCHED_INFO);
    if (lifeOf(info) === this.#run && !isReplica(info)) return info;
    this.#redis.disconnect(!this.#closed);
    throw redisUnavailable();
  }

  /** How far its clock is ahead of `performance.now()`, ms: at least and at most. @throws {StafettError} REDIS_UNAVAILABLE */
  async timeOffset(): Promise<[lowest: number, highest: number]> {
    const sentAt = performance.now();
    const now = await this.time();
    return [now - performance.now(), now + 1 - sentAt];
  }

  /** By the clock of Redis, ms. @throws {StafettError} REDIS_UNAVAILABLE */
  async time(): Promise<number> {
    const [seconds, micros] = await this.command<[string, string]>('TIME');
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  /** How often the connection was made again after a loss. */
  get reconnects(): number {
    return Math.max(0, this.#timesReady - 1);
  }

  /**
   * Waits, without a limit of its own, until commands can be sent.
   * @throws the signal's reason, or REDIS_UNAVAILABLE once the connection is closed for good.
   */
  async whenReady(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.ready) return;
    if (this.#closed) throw redisUnavailable();
    await new Promise<void>((resolve, reject) => {
      const stop = this.onStateChange((ready) => {
        if (!ready && !this.#closed) return;
        stop();
        signal?.removeEventListener('abort', onAbort);
        if (ready) resolve();
        else reject(redisUnavailable());
      });
      const onAbort = () => {
        stop();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Tells every change from ready to not ready and back. Returns what ends it. */
  onStateChange(listener: (ready: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Calls a function of a library: the one that has its name or, with a suffix, another. Loads the library when Redis does
   * not know it (any more).
   * @throws {StafettError} REDIS_UNAVAILABLE, with the original as `cause`, when it may or may not have run.
   * @throws {Error} what the function itself raised.
   */
  async callFunction(library: Library, suffix: string, keys: string[], args: (string | number | Buffer)[]): Promise<unknown> {
    if (!this.ready) throw redisUnavailable(); // or it would reach a Redis process that is not yet known
    const name = suffix === '' ? library.name : `${library.name}_${suffix}`;
    const call = () => this.#redis.callBuffer('fcall', name, keys.length, ...keys, ...args);
    try {
      return await call();
    } catch (error) {
      if (!isUnknownFunction(error)) throw this.#toCallerError(error);
    }
    try {
      await this.#redis.call('function', 'load', 'replace', library.source);
      return await call();
    } catch (error) {
      throw this.#toCallerError(error);
    }
  }

  /**
   * Sends one plain command, e.g. `command('SADD', key, member)`. Strings come back as UTF-8.
   * @throws as `callLibrary`.
   */
  async command<T = unknown>(name: string, ...args: (string | Buffer | number)[]): Promise<T> {
    try {
      return (await this.#redis.call(name, ...args)) as T;
    } catch (error) {
      throw this.#toCallerError(error);
    }
  }

  /** As `command`, for a key that is on its way to this master. */
  async asking(name: string, ...args: string[]): Promise<unknown> {
    const asking = this.command('ASKING');
    const [, reply] = await Promise.all([asking, this.command(name, ...args)]);
    return reply;
  }

  /** Closes for good. What is in flight fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeClient(this.#redis);
    this.#announced = true; // those who wait for it to get ready must hear, too
    this.#announce(false);
  }

  /** Learns who is at the other end before anything is asked there. */
  async #meet(): Promise<void> {
    try {
      const info = await this.command<string>('INFO', ...WATCHED_INFO);
      const run = lifeOf(info);
      if (run === undefined) throw new Error('INFO tells no run_id');
      if (isReplica(info)) throw new Error('it is a replica');
      this.#live(run);
      this.clock.belongsTo(run);
      this.#watch.look(info);
      this.#unusable = 0;
      this.#announce(true);
    } catch (error) {
      this.#options.logger[this.#unusable === 0 ? 'warn' : 'debug'](
        { problem: (error as Error).message },
        'Redis cannot be used; connecting again',
      );
      this.#leaveLater(retryDelayMs(++this.#unusable));
    }
  }

  #live(run: string): void {
    if (run === this.#run) return;
    this.#metAt = performance.now();
    if (this.#run !== '') this.#left.set(this.#run, this.#metAt);
    for (const oldest of this.#left.keys()) if (this.#left.size > LIVES_MAX) this.#left.delete(oldest);
    this.#run = run;
  }

  /** With a pause: ioredis makes one only after an attempt that failed, and to it this one did not. */
  #leaveLater(ms: number): void {
    if (this.#redis.status !== 'ready') return; // it leaves by itself
    this.#leaving = setTimeout(() => this.#redis.disconnect(!this.#closed), ms).unref();
  }

  #toCallerError(error: unknown): unknown {
    const redirection = redirectionOf(error);
    if (redirection !== undefined) this.#options.onRedirection?.(redirection);
    return toCallerError(error);
  }

  #announce(ready: boolean): void {
    if (ready === this.#announced || (ready && (this.#closed || this.#redis.status !== 'ready'))) return;
    this.#announced = ready;
    if (ready) this.#timesReady++;
    for (const listener of [...this.#listeners]) listener(ready);
  }
}

/**
 * Redis functions came with Redis 7; Valkey has had them from the start.
 * @throws {Error} for the operator, if `info`, the answer to INFO, tells of an older Redis.
 */
export function checkVersion(info: string, address: string): void {
  const version = /^redis_version:((\d+)\.\S*)/m.exec(info);
  if (version === null || Number(version[2]) >= 7) return;
  throw new Error(`the Redis at ${address} is version ${version[1]}; it must be Redis 7.0 or later, or any Valkey`);
}

/** @throws {Error} for the operator, if it is a node of a cluster, which has only some of the slots. */
function checkAlone(info: string, address: string): void {
  if (!/^(redis|server)_mode:cluster/m.test(info)) return;
  throw new Error(
    `the Redis at ${address} is a node of a cluster: name some of its nodes by REDIS_URL=redis+cluster://host:port,host:port`,
  );
}

function isReplica(info: string): boolean {
  return /^role:slave/m.test(info);
}

function mayNotAsk(address: string, cause: Error): Error {
  return new Error(
    `the Redis at ${address} does not let this user ask INFO (${cause.message}), without which it would not be noticed that it lost its data`,
    {
      cause,
    },
  );
}

function isUnknownFunction(error: unknown): boolean {
  return error instanceof ReplyError && (error as Error).message.includes('Function not found');
}
