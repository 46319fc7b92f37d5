import { backoffMs } from './backoff.js';
import type { Connection } from './connection.js';
import { isUnavailable, StafettError } from './errors.js';
import { type ChannelEvent, fromPosition, type Position, toMemberView, toPosition, toPublicationView } from './event-views.js';
import { type SlowPolicy, type SubscribeRequest, type SubscriptionEvent, SlowPolicy as WirePolicy } from './gen/stafett/v1/event.js';
import { LinkedSignal } from './signals.js';

export type OnSlow = 'disconnect' | 'drop-oldest' | 'conflate';

export interface SubscriptionSettings {
  readonly channels: readonly string[];
  readonly since: Readonly<Record<string, Position>>;
  readonly onSlow: OnSlow;
  readonly queueBytesMax: number;
  readonly present: boolean;
  readonly watchPresence: boolean;
  readonly signal: AbortSignal | undefined;
}

export const POLICIES: Readonly<Record<OnSlow, SlowPolicy>> = {
  disconnect: WirePolicy.DISCONNECT,
  'drop-oldest': WirePolicy.DROP_OLDEST,
  conflate: WirePolicy.CONFLATE,
};

/** Ends of a stream after which it goes on elsewhere, or with another session. */
const GOES_ON: ReadonlySet<string> = new Set(['SLOW_CONSUMER', 'SESSION_NOT_FOUND']);

/**
 * The publications of some channels, through however many connections it takes: each one once and in the order of its channel, or an
 * event `subscribed` with `recovered: false` that says that something may be missing. Read it by `for await`; only once.
 */
export class Subscription implements AsyncIterable<ChannelEvent> {
  readonly #connection: Connection;
  readonly #settings: SubscriptionSettings;
  readonly #positions = new Map<string, Position>();

  /** @internal */
  constructor(connection: Connection, settings: SubscriptionSettings) {
    this.#connection = connection;
    this.#settings = settings;
    for (const [channel, position] of Object.entries(settings.since)) this.#positions.set(channel, position);
  }

  /** How far it was read, by channel or prefix: the `since` with which another subscription goes on from here. */
  get positions(): Record<string, Position> {
    return Object.fromEntries(this.#positions);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChannelEvent, void, undefined> {
    const { signal } = this.#settings;
    for (let failures = 0; ; failures++) {
      const link = await this.#connection.link(Number.POSITIVE_INFINITY, signal);
      const linked = new LinkedSignal(link.broken, signal);
      try {
        for await (const { events } of link.events.subscribe(await this.#toRequest(), { signal: linked.signal })) {
          failures = 0;
          for (const event of events) yield* this.#of(event);
        }
      } catch (cause) {
        signal?.throwIfAborted();
        const error = StafettError.from(cause);
        if (!link.broken.aborted && !isUnavailable(cause) && !GOES_ON.has(error.reason)) throw error;
        if (!link.broken.aborted) {
          const { retryDelayMs } = error;
          await this.#connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs }), signal);
        }
      } finally {
        linked.unlink();
      }
    }
  }

  async #toRequest(): Promise<SubscribeRequest> {
    const { channels, onSlow, queueBytesMax, present, watchPresence, signal } = this.#settings;
    const sessionId = present
      ? (await this.#connection.session({ askedAt: performance.now(), waitUntil: Number.POSITIVE_INFINITY }, signal)).id
      : '';
    return {
      channels: channels.map((channel) => {
        const since = this.#positions.get(channel);
        return { channel, since: since && fromPosition(since) };
      }),
      slowPolicy: POLICIES[onSlow],
      queueBytesMax,
      sessionId,
      present,
      watchPresence,
    };
  }

  *#of({ event }: SubscriptionEvent): Generator<ChannelEvent> {
    if (event?.$case === 'publication') {
      const { subscription, position } = event.value;
      if (position) this.#positions.set(subscription, toPosition(position));
      yield { type: 'publication', subscription, ...toPublicationView(event.value) };
    } else if (event?.$case === 'subscribed') {
      const { channel, recovered } = event.value;
      const position = event.value.position ? toPosition(event.value.position) : { epoch: '', offset: 0 };
      this.#positions.set(channel, position);
      yield { type: 'subscribed', channel, position, recovered };
    } else if (event?.$case === 'dropped') {
      yield { type: 'dropped', count: Number(event.value.count) };
    } else if (event?.$case === 'join' || event?.$case === 'leave') {
      yield { type: event.$case, channel: event.value.channel, member: toMemberView(event.value) };
    }
  }
}
