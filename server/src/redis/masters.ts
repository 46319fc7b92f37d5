import { RedisConnection, type RedisConnectionOptions } from './connection.js';

/** The Redis masters that keep the namespaces: one, or those of a cluster. */
export interface Masters {
  /**
   * Resolves when commands can be sent for the first time.
   * @throws {Error} for the operator: with the address and what to do about it.
   */
  connect(): Promise<void>;
  /** The master that has the slot; the one that had it last, while it is not known who has it. */
  at(slot: number): RedisConnection;
  readonly all: readonly RedisConnection[];
  /** How often connections were made again after a loss. */
  readonly reconnects: number;
  /** Tells that a master can be used, or not any more, or that slots have another one. Returns what ends it. */
  onChange(listener: () => void): () => void;
  /** Closes for good. What is in flight fails. */
  close(): void;
  /** Undefined if there is only one master. */
  readonly cluster?: ClusterMasters;
}

/** What has to be known where namespaces have different masters, and may get another one. */
export interface ClusterMasters {
  /** For how long this server has watched the slot at the master that it has now, and nothing was lost there, ms. */
  watchedMs(slot: number): Promise<number>;
  /**
   * Is everything here that the process `from` had of the slot `since` then, by `performance.now()`? Only if that can be proven.
   * To be asked while the slot is not being moved.
   */
  cameWhole(slot: number, from: string, since: number): Promise<boolean>;
  /** Sends a command with one key to whoever has the key, also while the slot is being moved. @throws {StafettError} REDIS_UNAVAILABLE */
  toKey(slot: number, name: string, ...args: string[]): Promise<unknown>;
}

/** A Redis of its own, or the master that sentinels name. */
export class SingleMaster implements Masters {
  readonly all: readonly RedisConnection[];
  readonly #connection: RedisConnection;

  constructor(options: RedisConnectionOptions) {
    this.#connection = new RedisConnection(options);
    this.all = [this.#connection];
  }

  connect(): Promise<void> {
    return this.#connection.connect();
  }

  at(): RedisConnection {
    return this.#connection;
  }

  get reconnects(): number {
    return this.#connection.reconnects;
  }

  onChange(listener: () => void): () => void {
    return this.#connection.onStateChange(listener);
  }

  close(): void {
    this.#connection.close();
  }
}
