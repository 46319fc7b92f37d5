import { decodePublication } from '../engine/codec.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { eventsChannel } from '../redis/keys.js';
import type { Subscriber } from '../redis/subscriber.js';
import { covers, depthOf, isPrefix, patternOf } from './feed-names.js';
import type { Position, Publication } from './publication.js';
import { replay } from './replay.js';

/** Publications that wait while what comes before them is being looked for; what is beyond is found in the history, too. */
const EARLY_MAX = 1_000;
/** How long a publication that was counted may be on its way before it counts as lost, ms. */
const ON_ITS_WAY_MS = 200;

export interface FeedListener {
  /** Each one once, in order. */
  onPublication(publication: Publication): void;
  /** Something is missing; what comes next begins after the position. */
  onBroken(position: Position): void;
  /** Somebody joined or left, perhaps. */
  onPresence(): void;
}

export interface FeedOptions {
  readonly engine: NamespaceEngine;
  readonly subscriber: Subscriber;
  /** Counts a gap that was found while connected. */
  onGap(): void;
}

/**
 * One channel, or one prefix, for all who listen to it on this server: subscribed to in Redis once, as long as anybody does.
 * What pub/sub loses shows as a gap in the chain of its publications and is read from the history.
 */
export class Feed {
  readonly listeners = new Set<FeedListener>();
  readonly isPrefix: boolean;
  readonly #options: FeedOptions;
  readonly #depth: number;
  readonly #prefixLength: number;
  #epoch = '';
  #offset = 0;
  #early: Publication[] | undefined;
  #stop: (() => Promise<void>) | undefined;
  #opened: Promise<void> | undefined;
  #suspicion: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    readonly name: string,
    /** See `ReplayedFeed`. */
    readonly keeps: boolean,
    options: FeedOptions,
  ) {
    this.#options = options;
    this.isPrefix = isPrefix(name);
    this.#depth = depthOf(name);
    this.#prefixLength = eventsChannel(options.engine.namespace, '').length;
  }

  /** All up to it was told to the listeners, or was before they came. */
  get position(): Position {
    return { epoch: this.#epoch, offset: this.#offset };
  }

  /** Resolves when it hears whatever is published from now on. @throws {StafettError} REDIS_UNAVAILABLE */
  open(): Promise<void> {
    this.#opened ??= this.#open().catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#suspicion);
    void this.#stop?.();
  }

  /** What Redis says to be its last publication: is it known here? One that is on its way has some time to arrive. */
  check(epoch: string, tail: number, end: number): void {
    if (this.#closed || this.#early || this.#epoch === '') return;
    if (epoch !== this.#epoch) return void this.#fill();
    if (tail <= this.#offset) {
      this.#offset = Math.max(this.#offset, end);
      return;
    }
    this.#suspicion ??= setTimeout(() => {
      this.#suspicion = undefined;
      if (tail > this.#offset) void this.#fill();
    }, ON_ITS_WAY_MS).unref();
  }

  async #open(): Promise<void> {
    const { engine, subscriber } = this.#options;
    this.#early = [];
    const onMessage = (message: Buffer, channel: string) => this.#onMessage(message, channel.slice(this.#prefixLength));
    const stop = this.isPrefix
      ? await subscriber.subscribePattern(patternOf(eventsChannel(engine.namespace, this.name)), onMessage)
      : await subscriber.subscribe(eventsChannel(engine.namespace, this.name), onMessage);
    this.#stop = stop;
    if (this.#closed) return void stop();
    try {
      const [, epoch, , end] = await engine.run<'tails'>(['tails', []]);
      [this.#epoch, this.#offset] = [epoch, end];
    } catch (error) {
      void stop();
      throw error;
    }
    this.#takeEarly();
  }

  #onMessage(message: Buffer, channel: string): void {
    if (!covers(this.name, channel)) return;
    const { offset, ...rest } = decodePublication(message);
    if (offset === -1) {
      for (const listener of this.listeners) listener.onPresence();
      return;
    }
    const publication = { ...rest, offset, channel };
    if (!this.#early || offset === 0) this.#take(publication);
    else if (this.#early.length < EARLY_MAX) this.#early.push(publication);
  }

  #take(publication: Publication): void {
    const { epoch, offset, before } = publication;
    if (offset > 0) {
      if (epoch !== this.#epoch || (before[this.#depth] ?? 0) > this.#offset) return void this.#fill();
      if (offset <= this.#offset) return;
      this.#offset = offset;
    }
    for (const listener of this.listeners) listener.onPublication(publication);
  }

  /** Reads what is missing. If that fails, the next publication, or the next check, shows it again. */
  async #fill(): Promise<void> {
    if (this.#early || this.#closed) return;
    this.#early = [];
    this.#options.onGap();
    try {
      for await (const step of replay(this.#options.engine, this, this.position)) {
        if (step.type === 'publication') this.#take(step.publication);
        else this.#moveTo(step.position, step.type === 'broken');
      }
    } catch {
      this.#early = undefined;
      return;
    }
    this.#takeEarly();
  }

  #takeEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const publication of early) this.#take(publication);
  }

  #moveTo({ epoch, offset }: Position, broken: boolean): void {
    [this.#epoch, this.#offset] = [epoch, offset];
    if (!broken) return;
    for (const listener of this.listeners) listener.onBroken({ epoch, offset });
  }
}
