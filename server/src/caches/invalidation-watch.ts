import type { Channels } from '../events/channels.js';
import type { Position as Place } from '../events/publication.js';
import type { Subscription } from '../events/subscription.js';
import type { WatchInvalidationsRequest, WatchInvalidationsResponse } from '../gen/stafett/v1/cache.js';
import type { Position, SubscriptionEvent } from '../gen/stafett/v1/event.js';
import { invalidField } from '../rpc/errors.js';
import { toInvalidation } from './invalidation.js';
import type { Tail, TailCheck } from './tail-check.js';

/** Requests for a confirmation that may wait. */
const ASKED_MAX = 100;

export interface InvalidationWatchOptions {
  readonly channels: Channels;
  readonly channel: string;
  readonly since: Place | undefined;
  readonly tails: TailCheck;
}

/** One stream of invalidations of one cache. */
export class InvalidationWatch {
  readonly #options: InvalidationWatchOptions;
  readonly #asked: { readonly sequence: bigint; readonly tail: Tail }[] = [];
  /** Requests that Redis is being asked for. */
  #asking = 0;
  /** All up to here was told. */
  #position: Position = { epoch: '', offset: 0n };
  #responses: WatchInvalidationsResponse[] = [];
  #wake: () => void = () => {};
  #drained: () => void = () => {};
  #ended = false;
  #failure: Error | undefined;

  constructor(options: InvalidationWatchOptions) {
    this.#options = options;
  }

  /** @throws {StafettError} POSITION_OUT_OF_RANGE, TOO_MANY_SUBSCRIPTIONS, SLOW_CONSUMER, REDIS_UNAVAILABLE, INVALID_FIELD */
  async *run(
    first: WatchInvalidationsRequest,
    requests: AsyncIterator<WatchInvalidationsRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<WatchInvalidationsResponse> {
    const { channels, channel, since } = this.#options;
    const subscription = await channels.subscribe({ feeds: [{ name: channel, since }] });
    const onAbort = () => this.#end();
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) this.#end();
    void this.#pump(subscription);
    void this.#read(first, requests, subscription);
    try {
      yield* this.#tell();
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#end();
      channels.unsubscribe(subscription);
    }
  }

  async *#tell(): AsyncGenerator<WatchInvalidationsResponse> {
    while (true) {
      const responses = this.#responses;
      this.#responses = [];
      yield* responses;
      if (this.#responses.length > 0) continue;
      this.#drained();
      if (this.#failure) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What is published waits in the subscription, which has its limit, until the reader has taken what it got before. */
  async #pump(subscription: Subscription): Promise<void> {
    try {
      await subscription.deliver((events) => {
        for (const event of events) this.#on(event);
        this.#settle();
        return new Promise<void>((resolve) => {
          this.#drained = resolve;
          this.#wake();
        });
      });
      this.#end();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  async #read(
    first: WatchInvalidationsRequest,
    requests: AsyncIterator<WatchInvalidationsRequest>,
    subscription: Subscription,
  ): Promise<void> {
    try {
      if (first.sequence > 0n) this.#ask(first.sequence, subscription);
      for (let next = await requests.next(); !next.done; next = await requests.next()) {
        const { cache, sequence } = next.value;
        if (cache !== '') throw invalidField('cache', 'belongs into the first request; watch another cache by another stream');
        if (sequence === 0n) throw invalidField('sequence', 'must be above 0');
        this.#ask(sequence, subscription);
      }
    } catch (error) {
      return this.#end(error as Error);
    }
    this.#end();
  }

  #ask(sequence: bigint, { members: [member] }: Subscription): void {
    if (this.#asking + this.#asked.length >= ASKED_MAX) return;
    this.#asking++;
    const done = (tail?: Tail) => {
      this.#asking--;
      if (!tail) return; // Redis cannot be asked; the client asks again
      member?.feed.check(tail.epoch, tail.offset, tail.end); // a message that was lost is found now
      this.#asked.push({ sequence, tail });
      this.#settle();
      this.#wake();
    };
    this.#options.tails.ask().then(done, () => done());
  }

  #on({ event }: SubscriptionEvent): void {
    if (event?.$case === 'subscribed') {
      const { position, recovered } = event.value;
      if (position) this.#position = position;
      this.#responses.push({ news: { $case: recovered ? 'resumed' : 'reset', value: { position } } });
    } else if (event?.$case === 'publication') {
      const { data, position } = event.value;
      if (position) this.#position = position;
      this.#responses.push({ news: { $case: 'invalidation', value: toInvalidation(data, position) } });
    }
  }

  /** Confirms what has been told to its end. */
  #settle(): void {
    for (let next = this.#asked[0]; next && this.#isTold(next.tail); next = this.#asked[0]) {
      this.#asked.shift();
      this.#responses.push({ news: { $case: 'confirmation', value: { sequence: next.sequence } } });
    }
  }

  #isTold({ epoch, offset }: Tail): boolean {
    return this.#position.epoch === epoch && this.#position.offset >= BigInt(offset);
  }

  #end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
    this.#drained();
  }
}
