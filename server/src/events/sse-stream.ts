import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Publication, SubscriptionEvent } from '../gen/stafett/v1/event.js';
import { fromTimestamp } from '../rpc/fields.js';
import type { SubscribeOptions } from './channels.js';
import { toEventId } from './event-id.js';
import type { Position } from './publication.js';
import type { Subscription } from './subscription.js';

/** Of a channel whose beginning was not told yet. */
const NOWHERE: Position = { epoch: '', offset: 0 };

/** One browser's stream: writes what its subscription tells as server-sent events, as fast as they are read. */
export class SseStream {
  readonly #response: ServerResponse;
  readonly #subscription: Subscription;
  readonly #positions: Map<string, Position>;
  #isFull = false;

  /** @param feeds in the order of the request, and from where on */
  constructor(response: ServerResponse, subscription: Subscription, feeds: SubscribeOptions['feeds']) {
    this.#response = response;
    this.#subscription = subscription;
    this.#positions = new Map(feeds.map(({ name, since }) => [name, since ?? NOWHERE]));
  }

  /** Until the subscription ends, or the browser goes away. */
  async run(heartbeatMs: number): Promise<void> {
    const heartbeat = setInterval(() => !this.#isFull && this.#response.write(':\n\n'), heartbeatMs).unref();
    const gone = new AbortController();
    this.#response.once('close', () => {
      gone.abort();
      this.#subscription.end();
    });
    try {
      await this.#subscription.deliver((events) => {
        const text = events.map((event) => this.#format(event)).join('');
        return gone.signal.aborted || this.#response.write(text) ? undefined : this.#drained(gone.signal);
      });
    } finally {
      clearInterval(heartbeat);
    }
  }

  async #drained(signal: AbortSignal): Promise<void> {
    this.#isFull = true;
    await once(this.#response, 'drain', { signal }).catch(() => {}); // it has gone away
    this.#isFull = false;
  }

  #format({ event }: SubscriptionEvent): string {
    if (event?.$case === 'publication') return this.#formatPublication(event.value);
    if (event?.$case === 'dropped') return `event: dropped\ndata: {"count":${event.value.count}}\n\n`;
    if (event?.$case !== 'subscribed') return '';
    const { channel, recovered, position } = event.value;
    if (position) this.#moveTo(channel, position);
    // Before all channels are there, an id would say of the others that nothing of them is known.
    return `event: subscribed\n${this.#id()}data: ${JSON.stringify({ channel, recovered })}\n\n`;
  }

  #formatPublication({ subscription, channel, key, data, position, publishTime }: Publication): string {
    if (position) this.#moveTo(subscription, position);
    const about = { channel, subscription, key, publishTime: new Date(publishTime ? fromTimestamp(publishTime) : 0) };
    // The only line breaks that a JSON text can have are white space.
    const text = `${JSON.stringify(about).slice(0, -1)},"data":${data.replace(/[\r\n]+/g, ' ')}}`;
    return `${this.#id()}data: ${text}\n\n`;
  }

  #moveTo(feed: string, { epoch, offset }: { epoch: string; offset: bigint }): void {
    this.#positions.set(feed, { epoch, offset: Number(offset) });
  }

  #id(): string {
    const positions = [...this.#positions.values()];
    return positions.includes(NOWHERE) ? '' : `id: ${toEventId(positions)}\n`;
  }
}
