import { Counter, Gauge, type Registry } from 'prom-client';
import type { SlowPolicy } from './outbound-queue.js';

interface Counts {
  readonly subscriptions: number;
  readonly feeds: number;
  readonly queuedBytes: number;
}

/** What goes through this server. No label ever is a channel's name. */
export class EventMetrics {
  readonly #sources: (() => Counts)[] = [];
  readonly #published: Counter;
  readonly #duplicates: Counter;
  readonly #dropped: Counter;
  readonly #disconnected: Counter;
  readonly #gaps: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string, labelNames: string[] = []) => new Counter({ name, help, labelNames, registers });
    this.#published = counter('stafett_publications_total', 'Publications that this server made.', ['history']);
    this.#duplicates = counter('stafett_publication_duplicates_total', 'Publications that had been made before, by their idempotency key.');
    this.#dropped = counter('stafett_publications_dropped_total', 'Publications that subscribers were too slow for.', ['policy']);
    this.#disconnected = counter('stafett_slow_subscribers_total', 'Subscribers that were sent away because they were too slow.');
    this.#gaps = counter('stafett_publication_gaps_total', 'Gaps that were found while connected, and looked up in the history.');
    const gauge = (name: string, help: string, key: keyof Counts) => {
      const sum = () => this.#sum(key);
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(sum());
        },
      });
    };
    gauge('stafett_subscriptions', 'Subscribers on this server.', 'subscriptions');
    gauge('stafett_subscribed_channels', 'Channels and prefixes that this server listens to in Redis.', 'feeds');
    gauge('stafett_subscriber_queue_bytes', 'What waits for subscribers of this server, bytes.', 'queuedBytes');
  }

  /** Adds to what the gauges tell. */
  observe(source: () => Counts): void {
    this.#sources.push(source);
  }

  /** How many there are on this server. */
  get subscriptions(): number {
    return this.#sum('subscriptions');
  }

  onPublished(isKept: boolean, wasBefore: boolean): void {
    if (wasBefore) this.#duplicates.inc();
    else this.#published.inc({ history: isKept ? 'yes' : 'no' });
  }

  onDropped(policy: SlowPolicy, count: number): void {
    this.#dropped.inc({ policy }, count);
  }

  onDisconnected(): void {
    this.#disconnected.inc();
  }

  onGap(): void {
    this.#gaps.inc();
  }

  #sum(key: keyof Counts): number {
    return this.#sources.reduce((sum, source) => sum + source()[key], 0);
  }
}
