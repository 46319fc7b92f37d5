import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { Feed, FeedListener } from './feed.js';
import { depthOf } from './feed-names.js';
import type { Position, Publication } from './publication.js';
import { type ReplayStep, replay } from './replay.js';

/** Publications that come in while the end of the history is read. */
const EARLY_MAX = 1_000;

/** Where a member's news goes. */
export interface MemberSink {
  onSubscribed(feed: string, position: Position, recovered: boolean): void;
  onPublication(feed: string, publication: Publication): void;
  onPresence(feed: string): void;
  /** Resolves when there is room for more of what is not urgent, for it is kept. */
  room(): Promise<void>;
}

/** One subscriber's part in one feed: first what it missed, as fast as it reads, then what happens. */
export class Member implements FeedListener {
  readonly #feed: Feed;
  readonly #engine: NamespaceEngine;
  readonly #sink: MemberSink;
  readonly #depth: number;
  #position: Position = { epoch: '', offset: 0 };
  #live = false;
  #left = false;
  #early: Publication[] = [];

  constructor(feed: Feed, engine: NamespaceEngine, sink: MemberSink) {
    this.#feed = feed;
    this.#engine = engine;
    this.#sink = sink;
    this.#depth = depthOf(feed.name);
  }

  /**
   * Resolves when it is told where the stream begins; what was missed may follow until later.
   * @param onFailure told if what was missed could not be read to its end
   * @throws {StafettError} POSITION_OUT_OF_RANGE, REDIS_UNAVAILABLE
   */
  async join(since: Position | undefined, onFailure: (error: Error) => void): Promise<void> {
    this.#feed.listeners.add(this);
    await this.#feed.open();
    if (since === undefined) {
      this.#position = this.#feed.position;
      this.#live = true;
      this.#sink.onSubscribed(this.#feed.name, this.#position, false);
      return;
    }
    this.#position = since;
    const steps = replay(this.#engine, this.#feed, since);
    const first = (await steps.next()).value as ReplayStep;
    if (first.type === 'broken') this.#position = first.position;
    this.#sink.onSubscribed(this.#feed.name, this.#position, first.type !== 'broken');
    this.#catchUp(first, steps).catch(onFailure);
  }

  leave(): void {
    this.#left = true;
    this.#feed.listeners.delete(this);
  }

  onPublication(publication: Publication): void {
    const { offset } = publication;
    if (offset === 0) this.#sink.onPublication(this.#feed.name, publication);
    else if (!this.#live) this.#early.length < EARLY_MAX && this.#early.push(publication);
    else this.#take(publication);
  }

  onBroken(position: Position): void {
    if (!this.#live) return; // what it reads shows it, too
    this.#position = position;
    this.#sink.onSubscribed(this.#feed.name, position, false);
  }

  onPresence(): void {
    this.#sink.onPresence(this.#feed.name);
  }

  async #catchUp(first: ReplayStep, steps: AsyncGenerator<ReplayStep>): Promise<void> {
    let isFirst = true;
    let rest = steps;
    for (let step: ReplayStep | undefined = first; !this.#left; step = (await rest.next()).value as ReplayStep | undefined) {
      if (step === undefined) {
        if (this.#goLive()) return;
        rest = replay(this.#engine, this.#feed, this.#position);
        continue;
      }
      if (!isFirst || step.type !== 'broken') this.#follow(step);
      isFirst = false;
      await this.#sink.room();
    }
  }

  #follow(step: ReplayStep): void {
    if (step.type === 'publication') return this.#take(step.publication);
    this.#position = step.position;
    if (step.type === 'broken') this.#sink.onSubscribed(this.#feed.name, step.position, false);
  }

  #take(publication: Publication): void {
    const { epoch, offset } = publication;
    if (epoch === this.#position.epoch && offset <= this.#position.offset) return;
    this.#position = { epoch, offset };
    this.#sink.onPublication(this.#feed.name, publication);
  }

  /** Is all told that the feed has heard of? Then it goes on with what the feed hears. */
  #goLive(): boolean {
    const early = this.#early;
    this.#early = [];
    for (const publication of early) if (this.#follows(publication)) this.#take(publication);
    const { epoch, offset } = this.#feed.position;
    this.#live = epoch === this.#position.epoch && offset <= this.#position.offset;
    return this.#live;
  }

  /** Is it the next one? */
  #follows({ epoch, offset, before }: Publication): boolean {
    return epoch === this.#position.epoch && offset > this.#position.offset && (before[this.#depth] ?? 0) <= this.#position.offset;
  }
}
