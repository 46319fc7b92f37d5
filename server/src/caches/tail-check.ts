import type { Channels } from '../events/channels.js';

/** The last publication of a channel. */
export interface Tail {
  readonly epoch: string;
  readonly offset: number;
  /** The last one of the namespace. */
  readonly end: number;
}

/** Asks Redis for the last publication of a channel, for all who want to know at about the same time. */
export class TailCheck {
  readonly #channels: Channels;
  readonly #channel: string;
  #running: Promise<Tail> | undefined;
  #next: Promise<Tail> | undefined;

  constructor(channels: Channels, channel: string) {
    this.#channels = channels;
    this.#channel = channel;
  }

  /** Redis is asked after this was called, never before. @throws {StafettError} REDIS_UNAVAILABLE */
  ask(): Promise<Tail> {
    if (!this.#running) return this.#start();
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  #start(): Promise<Tail> {
    this.#running = this.#ask().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #ask(): Promise<Tail> {
    const [, epoch, tails, end] = await this.#channels.engine.run<'tails'>(['tails', [this.#channel]]);
    return { epoch, offset: tails[0] ?? 0, end };
  }
}
