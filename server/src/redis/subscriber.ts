import { type Redis, ReplyError } from 'ioredis';
import type { Logger } from 'pino';
import { redisUnavailable } from '../rpc/errors.js';
import { closeClient, connectFirst, createClient, toCallerError } from './client.js';
import type { NodePicker } from './node-picker.js';
import type { RedisTarget } from './target.js';

export type MessageListener = (message: Buffer, channel: string) => void;

type Kind = 'subscribe' | 'psubscribe';

export interface SubscriberOptions {
  readonly target: RedisTarget;
  readonly logger: Logger;
  /** Chooses the node, in a cluster: what is published at one of them is heard at all. */
  readonly picker?: NodePicker;
  /** How long `connect()` tries before it gives up, ms. Default 10 s. */
  readonly connectTimeoutMs?: number;
}

/** Channels in one SUBSCRIBE command. */
const CHANNELS_PER_COMMAND = 1_000;
/** How long to wait when Redis refuses to subscribe again, ms. */
const REFUSED_RETRY_MS = 1_000;

/**
 * The one subscription connection of a server. It comes back by itself with all its channels, but what was published
 * meanwhile is lost: whoever needs it checks in `onReconnect`.
 */
export class Subscriber {
  readonly #redis: Redis;
  readonly #options: SubscriberOptions;
  /** What is listened to: channels by their names, and patterns. */
  readonly #topics: Record<Kind, Map<string, Set<MessageListener>>> = { subscribe: new Map(), psubscribe: new Map() };
  readonly #reconnectListeners = new Set<() => void>();
  readonly #stateListeners = new Set<(ready: boolean) => void>();
  /** Which life of the connection this is, to know when a reply belongs to an earlier one. */
  #life = 0;
  #live = false;
  #closed = false;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.#redis = createClient(options.target, 'stafett-subscriber', options.logger, options.picker);
    const { subscribe: channels, psubscribe: patterns } = this.#topics;
    this.#redis.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      const name = channel.toString();
      this.#deliver(channels.get(name), name, message);
    });
    this.#redis.on('pmessageBuffer', (pattern: Buffer | string, channel: Buffer, message: Buffer) => {
      this.#deliver(patterns.get(pattern.toString()), channel.toString(), message);
    });
    this.#redis.on('ready', () => void this.#restore());
    this.#redis.on('close', () => this.#setLive(false));
  }

  /**
   * Resolves when the connection is ready for the first time.
   * @throws {Error} for the operator: with the address and what to do about it.
   */
  connect(): Promise<void> {
    return connectFirst(this.#redis, this.#options.target, this.#options.connectTimeoutMs ?? 10_000);
  }

  /** True while connected and subscribed to all channels. */
  get ready(): boolean {
    return this.#live && this.#redis.status === 'ready';
  }

  /** How often the connection was made again after a loss. */
  get reconnects(): number {
    return Math.max(0, this.#life - 1);
  }

  /**
   * Adds a listener to a channel. When this resolves, Redis has confirmed: it hears whatever is published from now on.
   * The listener must not throw and should be quick. Returns what removes it; the last one removes the subscription.
   * @throws {StafettError} REDIS_UNAVAILABLE; nothing is subscribed then.
   */
  subscribe(channel: string, listener: MessageListener): Promise<() => Promise<void>> {
    return this.#add('subscribe', channel, listener);
  }

  /** As `subscribe`, for all channels that a pattern of Redis matches. Each one costs Redis a comparison with every message published. */
  subscribePattern(pattern: string, listener: MessageListener): Promise<() => Promise<void>> {
    return this.#add('psubscribe', pattern, listener);
  }

  /** Tells when the connection is back, after all channels are subscribed again. Returns what ends it. */
  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  /** Tells every change from ready to not ready and back. Returns what ends it. */
  onStateChange(listener: (ready: boolean) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /** Connects again, to another node of the cluster. */
  move(): void {
    if (!this.#closed) this.#redis.disconnect(true);
  }

  close(): void {
    this.#closed = true;
    this.#setLive(false);
    closeClient(this.#redis);
  }

  async #add(kind: Kind, name: string, listener: MessageListener): Promise<() => Promise<void>> {
    if (this.#closed) throw redisUnavailable();
    // An object of its own for each call, for the same function may be given twice.
    const own: MessageListener = (message, channel) => listener(message, channel);
    const listeners = this.#topics[kind].get(name) ?? new Set();
    this.#topics[kind].set(name, listeners.add(own));
    try {
      // Also for the second listener of a channel: the first's may not be confirmed yet, and twice does no harm.
      await this.#redis[kind](name);
    } catch (error) {
      await this.#remove(kind, name, own);
      throw this.#refused(error);
    }
    return () => this.#remove(kind, name, own);
  }

  /** A connection that is lost is told elsewhere; this is a Redis that is there, and refuses. */
  #refused(cause: unknown): unknown {
    const error = toCallerError(cause);
    if (!(error instanceof Error && error instanceof ReplyError)) return error;
    this.#options.logger.error({ problem: error.message }, 'Redis refuses to subscribe; callers are told to try again');
    const unavailable = redisUnavailable();
    unavailable.cause = error;
    return unavailable;
  }

  async #remove(kind: Kind, name: string, listener: MessageListener): Promise<void> {
    const listeners = this.#topics[kind].get(name);
    if (!listeners?.delete(listener) || listeners.size > 0) return;
    this.#topics[kind].delete(name);
    // Commands go out in order, so a later subscribe of the same channel wins. A broken connection has no subscriptions.
    await this.#redis[kind === 'subscribe' ? 'unsubscribe' : 'punsubscribe'](name).catch(() => {});
  }

  #deliver(listeners: ReadonlySet<MessageListener> | undefined, channel: string, message: Buffer): void {
    for (const listener of listeners ?? []) {
      try {
        listener(message, channel);
      } catch (error) {
        this.#options.logger.error({ err: error, channel }, 'a listener of a channel failed');
      }
    }
  }

  async #restore(): Promise<void> {
    const life = ++this.#life;
    try {
      for (const kind of ['subscribe', 'psubscribe'] as const) {
        const names = [...this.#topics[kind].keys()];
        for (let i = 0; i < names.length; i += CHANNELS_PER_COMMAND) {
          await this.#redis[kind](...names.slice(i, i + CHANNELS_PER_COMMAND));
        }
      }
    } catch (error) {
      this.#retryRestore(life, error);
      return;
    }
    if (life !== this.#life) return;
    this.#setLive(true);
    if (life === 1) return;
    for (const listener of [...this.#reconnectListeners]) listener();
  }

  #setLive(live: boolean): void {
    if (live === this.#live) return;
    this.#live = live;
    for (const listener of [...this.#stateListeners]) listener(live);
  }

  /** A lost connection is made again anyway; one that refuses is given up and made again, after a while. */
  #retryRestore(life: number, error: unknown): void {
    if (this.#redis.status !== 'ready' || life !== this.#life) return;
    this.#options.logger.error({ problem: (error as Error).message }, 'Redis refuses to subscribe; trying again');
    setTimeout(() => {
      if (life === this.#life && !this.#closed) this.#redis.disconnect(true);
    }, REFUSED_RETRY_MS).unref();
  }
}
