import type { Connection } from './connection.js';
import { type DurationLike, toMs, toProtoDuration } from './durations.js';
import { fromPosition, type MemberView, type Position, type PublicationView, toMemberView, toPublicationView } from './event-views.js';
import type { PublishRequest } from './gen/stafett/v1/event.js';
import { type Published, Publisher } from './publisher.js';
import { type OnSlow, POLICIES, Subscription } from './subscription.js';

export interface PublishOptions {
  /** What the event is about, for subscribers that want only the latest of each (`onSlow: 'conflate'`). At most 256 bytes. */
  readonly key?: string;
  /**
   * Makes it safe to publish the same again, also from another process: within the server's `STAFETT_IDEMPOTENCY_WINDOW` only the
   * first with this key is published in the channel. At most 64 of the characters A–Z a–z 0–9 `-` `_`. Default: one of its own.
   */
  readonly idempotencyKey?: string;
  /** Gives the channel a history if it has none: how many publications, and for how long. */
  readonly history?: { readonly size: number; readonly age: DurationLike };
}

export interface SubscribeOptions {
  /** Goes on behind these places, by channel or prefix: the `positions` of an earlier subscription. Default: from now on. */
  readonly since?: Readonly<Record<string, Position>>;
  /**
   * What the server does when this program reads so slowly that the queue is full. `disconnect` (default): the client goes on where it was, by
   * the history. `drop-oldest`: drops the oldest, and tells how many. `conflate`: keeps the latest with each `key`.
   */
  readonly onSlow?: OnSlow;
  /** How many bytes may wait at the server, from 4,096 on. Default: as many as the server allows. */
  readonly queueBytesMax?: number;
  /** Shows this client to others as a subscriber of the channels. */
  readonly present?: boolean;
  /** Tells who is subscribed to the channels, and then who joins and leaves. Not for prefixes. */
  readonly watchPresence?: boolean;
  /** Ends it, by throwing its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Events: what is published in a channel reaches all who subscribe to it, at whichever server.
 * Errors are {@link StafettError}s: CLOSED after `close()`, what the server refuses, e.g. INVALID_FIELD, and CONNECTION_FAILED.
 */
export class Events {
  readonly #connection: Connection;
  readonly #publisher: Publisher;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.#publisher = new Publisher(connection);
  }

  /**
   * Publishes an event. When it resolves it has happened, once, even if servers died meanwhile. Publications of this client keep their
   * order; those of one tick travel in one message.
   * @param data anything that JSON can hold
   * @throws {StafettError} CONNECTION_FAILED when no server answered within the `connectTimeout`: then it may have happened or not.
   * @example await stafett.events.publish('case/42', { state: 'closed' }, { history: { size: 100, age: '1h' } });
   */
  async publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    return this.#publisher.publish(toRequest(channel, data, options));
  }

  /** Publishes several events in their order, as if by as many `publish`. All are checked here before the first is sent. */
  publishBatch(publications: readonly (PublishOptions & { readonly channel: string; readonly data: unknown })[]): Promise<Published[]> {
    const requests = publications.map(({ channel, data, ...options }) => toRequest(channel, data, options));
    return Promise.all(requests.map((request) => this.#publisher.publish(request)));
  }

  /**
   * Listens to channels, and to all channels with a prefix: `case/*`, `*`. Goes on by itself at whichever server.
   * @example
   * for await (const event of stafett.events.subscribe(['case/42', 'user/7'])) {
   *   if (event.type === 'publication') show(event.data);
   *   if (event.type === 'subscribed' && !event.recovered) reload();
   * }
   */
  subscribe(channels: string | readonly string[], options: SubscribeOptions = {}): Subscription {
    const { since = {}, onSlow = 'disconnect', queueBytesMax = 0, present = false, watchPresence = false, signal } = options;
    if (!(onSlow in POLICIES)) throw new TypeError(`onSlow: must be one of ${Object.keys(POLICIES).join(', ')}`);
    const settings = { channels: [...new Set([channels].flat())], since, onSlow, queueBytesMax, present, watchPresence, signal };
    return new Subscription(this.#connection, settings);
  }

  /** What a channel has kept, oldest first; only what came after `since`. */
  async *history(channel: string, options: { since?: Position; signal?: AbortSignal } = {}): AsyncGenerator<PublicationView> {
    const { since, signal } = options;
    for (let pageToken = ''; ; ) {
      const request = { channel, since: since && fromPosition(since), pageSize: 0, pageToken };
      const page = await this.#connection.call((link, ended) => link.events.getHistory(request, { signal: ended }), signal);
      yield* page.publications.map(toPublicationView);
      if (page.nextPageToken === '') return;
      pageToken = page.nextPageToken;
    }
  }

  /** Who is subscribed to a channel with `present`; at most 1,000, those who came first. */
  async presence(channel: string, { signal }: { signal?: AbortSignal } = {}): Promise<MemberView[]> {
    const { members } = await this.#connection.call((link, ended) => link.events.getPresence({ channel }, { signal: ended }), signal);
    return members.map(toMemberView);
  }
}

function toRequest(channel: string, data: unknown, { key = '', idempotencyKey = '', history }: PublishOptions): PublishRequest {
  const json = JSON.stringify(data) as string | undefined;
  if (json === undefined) throw new TypeError('data: must be something that JSON can hold');
  const policy = history && { size: history.size, age: toProtoDuration(toMs(history.age, 'history.age')) };
  return { channel, data: json, key, idempotencyKey, history: policy };
}
