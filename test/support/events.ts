import type { ChannelEvent, Position, PublicationView, Stafett, SubscribeOptions } from '../../clients/typescript/src/index.js';
import { eventually } from './eventually.js';

type Subscribed = Extract<ChannelEvent, { type: 'subscribed' }>;

/** Reads a subscription along in the background. */
export class Follower {
  readonly events: ChannelEvent[] = [];
  readonly subscription;
  /** Rejects with what ended it. */
  readonly ended: Promise<void>;

  constructor(
    client: Stafett,
    readonly channels: readonly string[],
    options: SubscribeOptions = {},
  ) {
    this.subscription = client.events.subscribe(channels, options);
    this.ended = this.#read();
    this.ended.catch(() => {}); // by the close at the end, for those who do not wait
  }

  get publications(): PublicationView[] {
    return this.events.filter((event) => event.type === 'publication');
  }

  /** What was published, in a channel or in all. */
  data(channel?: string): unknown[] {
    return this.publications.filter((each) => channel === undefined || each.channel === channel).map(({ data }) => data);
  }

  /** What was told of where each channel begins, and began anew. */
  get subscribed(): Subscribed[] {
    return this.events.filter((event) => event.type === 'subscribed');
  }

  get dropped(): number {
    return this.events.reduce((sum, event) => sum + (event.type === 'dropped' ? event.count : 0), 0);
  }

  position(channel: string): Position {
    const position = this.subscription.positions[channel];
    if (!position) throw new Error(`nothing is known of ${channel}`);
    return position;
  }

  /** Waits for so many publications. */
  async has(count: number, timeoutMs = 10_000): Promise<unknown[]> {
    await eventually(`${count} publications`, () => this.publications.length >= count, { timeoutMs }).catch((error) => {
      throw new Error(`has ${this.publications.length} of ${count} publications`, { cause: error });
    });
    return this.data();
  }

  async #read(): Promise<void> {
    for await (const event of this.subscription) this.events.push(event);
  }
}

/** Subscribes, and waits until each channel is. */
export async function follow(client: Stafett, channels: string | string[], options: SubscribeOptions = {}): Promise<Follower> {
  const follower = new Follower(client, [channels].flat(), options);
  await eventually('the subscription', () => follower.subscribed.length >= follower.channels.length);
  return follower;
}

/** Publishes numbers, one after the other. */
export async function publishNumbers(client: Stafett, channel: string, from: number, to: number): Promise<void> {
  await client.events.publishBatch(numbers(from, to).map((data) => ({ channel, data })));
}

export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
