import { type Redis, ReplyError } from 'ioredis';
import type { Logger } from 'pino';
import { redisUnavailable } from '../rpc/errors.js';
import { closeClient, connectFirst, createClient, toCallerError } from './client.js';
import type { Library } from './scripts.js';
import { describeTarget, type RedisTarget } from './target.js';

export interface RedisConnectionOptions {
  readonly target: RedisTarget;
  readonly logger: Logger;
  /** How long `connect()` tries before it gives up, ms. Default 10 s. */
  readonly connectTimeoutMs?: number;
}

/**
 * The connection that runs scripts. It reconnects by itself, for ever. While it is down every command fails at once with
 * REDIS_UNAVAILABLE, and a command that was in flight when it broke fails so too, whether or not Redis carried it out.
 */
export class RedisConnection {
  readonly #redis: Redis;
  readonly #options: RedisConnectionOptions;
  readonly #listeners = new Set<(ready: boolean) => void>();
  #announced = false;
  #timesReady = 0;
  #closed = false;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#redis = createClient(options.target, 'stafett', options.logger);
    this.#redis.on('ready', () => this.#announce(true));
    this.#redis.on('close', () => this.#announce(false));
  }

  /**
   * Resolves when the connection is ready for the first time.
   * @throws {Error} for the operator: with the address and what to do about it.
   */
  async connect(): Promise<void> {
    const { target, connectTimeoutMs = 10_000 } = this.#options;
    await connectFirst(this.#redis, target, connectTimeoutMs);
    // Who may not ask for it is trusted to have the right one.
    const info = await this.#redis.info('server').catch(() => '');
    checkVersion(info, describeTarget(target));
  }

  get ready(): boolean {
    return !this.#closed && this.#redis.status === 'ready';
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
   * Calls the function of a library with one key and one argument. Loads the library when Redis does not know it (any more).
   * @throws {StafettError} REDIS_UNAVAILABLE, with the original as `cause`, when it may or may not have run.
   * @throws {Error} what the function itself raised.
   */
  async callLibrary(library: Library, key: string, arg: Buffer): Promise<Buffer> {
    try {
      return (await this.#redis.callBuffer('fcall', library.name, 1, key, arg)) as Buffer;
    } catch (error) {
      if (!isUnknownFunction(error)) throw toCallerError(error);
    }
    try {
      await this.#redis.call('function', 'load', 'replace', library.source);
      return (await this.#redis.callBuffer('fcall', library.name, 1, key, arg)) as Buffer;
    } catch (error) {
      throw toCallerError(error);
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
      throw toCallerError(error);
    }
  }

  /** Closes for good. What is in flight fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeClient(this.#redis);
    this.#announced = true; // those who wait for it to get ready must hear, too
    this.#announce(false);
  }

  #announce(ready: boolean): void {
    if (ready === this.#announced || (ready && !this.ready)) return;
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

function isUnknownFunction(error: unknown): boolean {
  return error instanceof ReplyError && (error as Error).message.includes('Function not found');
}
