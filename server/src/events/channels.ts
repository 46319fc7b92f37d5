import type { HistoryRule } from '../config/event-types.js';
import type { PublicationArgs } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { Subscriber } from '../redis/subscriber.js';
import type { EventMetrics } from './event-metrics.js';
import { Feed } from './feed.js';
import { feedsOf, isPrefix } from './feed-names.js';
import { type HistoryPolicy, NO_HISTORY, policyFor } from './history-policy.js';
import { Member } from './member.js';
import type { SlowPolicy } from './outbound-queue.js';
import { Presence } from './presence.js';
import type { Position } from './publication.js';
import { tooManySubscriptions } from './refusals.js';
import { Subscription } from './subscription.js';

/** How often the last publication of each feed is asked for, and how many feeds at once, ms. */
const CHECK_MS = 1_000;
const CHECK_FEEDS_MAX = 1_000;
/** Publications, and characters of their data, in one step. */
const STEP_MAX = 128;
const STEP_CHARS_MAX = 262_144;
/** How soon a feed is asked for again, at the soonest, ms. */
const RECHECK_MS = 2_000;

export interface ChannelsOptions {
  readonly subscriber: Subscriber;
  readonly metrics: EventMetrics;
  readonly historyRules: readonly HistoryRule[];
  readonly idempotencyWindowMs: number;
  readonly maxSubscriberBytes: number;
  readonly maxSubscriptions: number;
}

export interface NewPublication {
  readonly channel: string;
  /** A JSON text. */
  readonly data: string;
  readonly key?: string;
  readonly idempotencyKey?: string;
  /** For a channel that has none. */
  readonly history?: HistoryPolicy | undefined;
}

export interface Published {
  /** Undefined: the channel keeps no history. */
  readonly position: Position | undefined;
  readonly duplicate: boolean;
}

export interface SubscribeOptions {
  readonly feeds: readonly { readonly name: string; readonly since?: Position | undefined }[];
  readonly slowPolicy?: SlowPolicy;
  readonly queueBytesMax?: number;
}

/**
 * The channels of one namespace, as this server sees them. Other primitives may use channels of their own, whose names
 * begin with `$`: nobody outside can reach those.
 */
export class Channels {
  readonly engine: NamespaceEngine;
  readonly presence: Presence;
  readonly #options: ChannelsOptions;
  readonly #feeds = new Map<string, { readonly feed: Feed; checkedAt: number }>();
  readonly #subscriptions = new Set<Subscription>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: NamespaceEngine, options: ChannelsOptions) {
    this.engine = engine;
    this.#options = options;
    this.presence = new Presence(engine);
    // What pub/sub told meanwhile is lost, or all that Redis knew.
    const checkAll = () => this.#checkAll();
    engine.events.on('reask', checkAll).on('epoch', checkAll);
    options.subscriber.onReconnect(checkAll);
    options.metrics.observe(() => this.#counts());
  }

  /** @throws {StafettError} REDIS_UNAVAILABLE: it may have happened, unless it has an idempotency key and is asked for again */
  async publish(publication: NewPublication): Promise<Published> {
    const [published] = await this.#publish([publication]);
    return published as Published;
  }

  /** Publishes several in their order, in steps of not too many. @throws {StafettError} as `publish`; some of them may have happened */
  async publishBatch(publications: readonly NewPublication[]): Promise<Published[]> {
    const published: Published[] = [];
    while (published.length < publications.length) {
      const count = stepOf(publications, published.length);
      published.push(...(await this.#publish(publications.slice(published.length, published.length + count))));
    }
    return published;
  }

  async #publish(publications: readonly NewPublication[]): Promise<Published[]> {
    const { idempotencyWindowMs, metrics } = this.#options;
    const args = publications.map((publication) => this.#toArgs(publication));
    const [, epoch, results] = await this.engine.run<'publish'>(['publish', args, idempotencyWindowMs]);
    return results.map(([offset, wasBefore]) => {
      metrics.onPublished(offset > 0, wasBefore === 1);
      return { position: offset > 0 ? { epoch, offset } : undefined, duplicate: wasBefore === 1 };
    });
  }

  #toArgs({ channel, data, key = '', idempotencyKey = '', history = NO_HISTORY }: NewPublication): PublicationArgs {
    const rule = policyFor(this.#options.historyRules, channel);
    const { size, ageMs } = rule ?? history;
    return [feedsOf(channel), data, key, idempotencyKey, [size, ageMs, rule ? 1 : 0]];
  }

  /**
   * Begins to listen. Resolves when the subscription has been told where each of its feeds begins. End it with `unsubscribe`.
   * @throws {StafettError} POSITION_OUT_OF_RANGE, TOO_MANY_SUBSCRIPTIONS, REDIS_UNAVAILABLE; nothing is left behind then.
   */
  async subscribe({ feeds, slowPolicy = 'disconnect', queueBytesMax }: SubscribeOptions): Promise<Subscription> {
    const { metrics, maxSubscriberBytes, maxSubscriptions } = this.#options;
    if (metrics.subscriptions >= maxSubscriptions) {
      throw tooManySubscriptions('this server has as many subscribers as it may have (STAFETT_MAX_SUBSCRIPTIONS)');
    }
    const subscription = new Subscription({
      slowPolicy,
      queueBytesMax: Math.min(queueBytesMax || maxSubscriberBytes, maxSubscriberBytes),
      onDropped: (count) => metrics.onDropped(slowPolicy, count),
      onDisconnected: () => metrics.onDisconnected(),
    });
    this.#subscriptions.add(subscription);
    const joining = feeds.map(({ name, since }) => {
      const feed = this.#feed(name);
      const member = new Member(feed, this.engine, subscription);
      subscription.members.push({ feed, member });
      return member.join(since, (error) => subscription.end(error));
    });
    try {
      await Promise.all(joining);
    } catch (error) {
      this.unsubscribe(subscription);
      await Promise.allSettled(joining);
      throw error;
    }
    return subscription;
  }

  unsubscribe(subscription: Subscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    subscription.end();
    for (const { feed, member } of subscription.members) {
      member.leave();
      if (feed.listeners.size > 0 || !this.#feeds.delete(feed.name)) continue;
      feed.close();
    }
    if (this.#feeds.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #feed(name: string): Feed {
    const known = this.#feeds.get(name);
    if (known) return known.feed;
    const { subscriber, metrics, historyRules } = this.#options;
    const keeps = isPrefix(name) || policyFor(historyRules, name) !== undefined;
    const feed = new Feed(name, keeps, { engine: this.engine, subscriber, onGap: () => metrics.onGap() });
    this.#feeds.set(name, { feed, checkedAt: performance.now() });
    this.#timer ??= setInterval(() => this.#check(), CHECK_MS).unref();
    return feed;
  }

  #checkAll(): void {
    for (const entry of this.#feeds.values()) entry.checkedAt = Number.NEGATIVE_INFINITY;
    this.#check();
  }

  /** Is the last publication of each feed known here? If the last one of all was lost, no later one would show it. */
  #check(): void {
    const now = performance.now();
    const due = [...this.#feeds.values()].filter(({ checkedAt }) => now - checkedAt >= RECHECK_MS).slice(0, CHECK_FEEDS_MAX);
    if (due.length === 0) return;
    for (const entry of due) entry.checkedAt = now;
    this.engine.submit<'tails'>(['tails', due.map(({ feed }) => feed.name)], (_, result) => {
      if (!result) return;
      const [, epoch, tails, end] = result;
      due.forEach(({ feed }, i) => feed.check(epoch, tails[i] as number, end));
    });
  }

  #counts() {
    let queuedBytes = 0;
    for (const subscription of this.#subscriptions) queuedBytes += subscription.queuedBytes;
    return { subscriptions: this.#subscriptions.size, feeds: this.#feeds.size, queuedBytes };
  }
}

/** How many of them, from the first on, go into one step: at least one. */
function stepOf(publications: readonly NewPublication[], first: number): number {
  let count = 0;
  for (let chars = 0; count < STEP_MAX && first + count < publications.length; count++) {
    chars += publications[first + count]?.data.length ?? 0;
    if (chars > STEP_CHARS_MAX && count > 0) break;
  }
  return count;
}
