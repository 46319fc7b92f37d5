import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from './connection.js';
import { StafettError } from './errors.js';
import { follow } from './follow.js';
import type { Invalidation, WatchInvalidationsRequest, WatchInvalidationsResponse } from './gen/stafett/v1/cache.js';
import type { Position } from './gen/stafett/v1/event.js';
import type { Link } from './link.js';

/** How long to wait after a server refused to tell anything, ms. */
const REFUSED_MS = 1_000;

export interface InvalidationEvents {
  /** Something was or may have been missed. */
  onReset(): void;
  onInvalidation(invalidation: Invalidation): void;
}

/** The invalidations of one cache, through however many connections it takes, and since when none can have been missed. */
export class InvalidationStream {
  readonly #connection: Connection;
  readonly #cache: string;
  readonly #heartbeatMs: number;
  readonly #events: InvalidationEvents;
  readonly #closing = new AbortController();
  readonly #sentAt = new Map<bigint, number>();
  #sequence = 0n;
  #position: Position | undefined;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #error: StafettError | undefined;

  constructor(connection: Connection, cache: string, heartbeatMs: number, events: InvalidationEvents) {
    this.#connection = connection;
    this.#cache = cache;
    this.#heartbeatMs = heartbeatMs;
    this.#events = events;
    void this.#run();
  }

  /** All that was invalidated before, on the monotonic clock, was told. */
  get confirmedAt(): number {
    return this.#confirmedAt;
  }

  /** Why the servers refuse, if they do. */
  get error(): StafettError | undefined {
    return this.#error;
  }

  close(): void {
    this.#closing.abort();
    this.#confirmedAt = Number.NEGATIVE_INFINITY;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const open = (link: Link, ended: AbortSignal) => link.caches.watchInvalidations(this.#requests(link, ended), { signal: ended });
    while (!signal.aborted) {
      try {
        for await (const response of follow(this.#connection, { until: Number.POSITIVE_INFINITY, signal, open })) this.#on(response);
      } catch (cause) {
        if (signal.aborted) return;
        const error = StafettError.from(cause);
        if (error.reason === 'CLOSED') return;
        if (error.reason === 'POSITION_OUT_OF_RANGE') this.#position = undefined;
        else if (error.reason !== 'SLOW_CONSUMER') this.#error = error;
        await this.#connection.pause(REFUSED_MS, signal);
      }
    }
  }

  /** Asks again and again whether all has been told. What counts is when the question was sent. */
  async *#requests(link: Link, ended: AbortSignal): AsyncGenerator<WatchInvalidationsRequest> {
    this.#sentAt.clear();
    yield { cache: this.#cache, since: this.#position, sequence: this.#next() };
    while (!ended.aborted && !link.broken.aborted) {
      await sleep(this.#heartbeatMs, undefined, { signal: ended, ref: false }).catch(() => {});
      if (ended.aborted) return;
      yield { cache: '', since: undefined, sequence: this.#next() };
    }
  }

  #next(): bigint {
    this.#sequence++;
    this.#sentAt.set(this.#sequence, performance.now());
    return this.#sequence;
  }

  #on({ news }: WatchInvalidationsResponse): void {
    if (this.#closing.signal.aborted) return;
    this.#error = undefined;
    if (news?.$case === 'confirmation') return this.#confirm(news.value.sequence);
    if (news?.value.position) this.#position = news.value.position;
    if (news?.$case === 'reset') this.#events.onReset();
    else if (news?.$case === 'invalidation') this.#events.onInvalidation(news.value);
  }

  #confirm(sequence: bigint): void {
    const sentAt = this.#sentAt.get(sequence);
    if (sentAt !== undefined) this.#confirmedAt = Math.max(this.#confirmedAt, sentAt);
    for (const earlier of this.#sentAt.keys()) if (earlier <= sequence) this.#sentAt.delete(earlier);
  }
}
