import type { SubscriptionEvent } from '../gen/stafett/v1/event.js';
import type { Feed } from './feed.js';
import type { Member, MemberSink } from './member.js';
import { OutboundQueue, type SlowPolicy } from './outbound-queue.js';
import { bytesOf, type Position, type Publication, toEvent, toPosition } from './publication.js';
import { slowConsumer } from './refusals.js';

/** What is handed out in one piece, bytes: more than one event, since each piece costs its transport the same. */
const CHUNK_BYTES = 16_384;
/** What news that is no publication takes in the queue, bytes; about. */
const NEWS_BYTES = 300;

export interface SubscriptionOptions {
  readonly slowPolicy: SlowPolicy;
  readonly queueBytesMax: number;
  /** Counts publications that were dropped, and subscribers that were sent away. */
  onDropped(count: number): void;
  onDisconnected(): void;
}

/** One subscriber: what it has not read waits in a queue of limited bytes, and nowhere else. */
export class Subscription implements MemberSink {
  readonly members: { readonly feed: Feed; readonly member: Member }[] = [];
  /** Told that somebody may have joined or left. */
  presenceListener: ((channel: string) => void) | undefined;
  readonly #options: SubscriptionOptions;
  readonly #queue: OutboundQueue<SubscriptionEvent>;
  #wake: () => void = () => {};
  #makeRoom: (() => void)[] = [];
  #failure: Error | undefined;
  #ended = false;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.#queue = new OutboundQueue(options.slowPolicy, options.queueBytesMax);
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  onSubscribed(channel: string, position: Position, recovered: boolean): void {
    this.tell({ event: { $case: 'subscribed', value: { channel, position: toPosition(position), recovered } } });
  }

  onPublication(feed: string, publication: Publication): void {
    if (this.#ended) return;
    const { channel, key } = publication;
    const replaces = key === '' ? '' : `${feed}\0${channel}\0${key}`;
    const dropped = this.#queue.push(eventOf(feed, publication), bytesOf(publication), replaces);
    if (dropped === undefined) return this.#sendAway();
    if (dropped > 0) this.#options.onDropped(dropped);
    this.#wake();
  }

  onPresence(channel: string): void {
    this.presenceListener?.(channel);
  }

  /** Tells something that must not be dropped. */
  tell(event: SubscriptionEvent): void {
    if (this.#ended) return;
    if (!this.#queue.pushFirmly(event, NEWS_BYTES)) return this.#sendAway();
    this.#wake();
  }

  room(): Promise<void> {
    if (this.#ended || this.#queue.bytes <= this.#queue.bytesMax / 2) return Promise.resolve();
    return new Promise((resolve) => this.#makeRoom.push(resolve));
  }

  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    if (failure) this.#queue.clear();
    this.#wake();
    this.#tellRoom();
  }

  /**
   * Hands over what it has to be told, in pieces, until it ends. Only one may read.
   * @param tell may return a promise: nothing more is handed over until it resolves.
   */
  async deliver(tell: (events: SubscriptionEvent[]) => Promise<void> | undefined): Promise<void> {
    while (true) {
      while (!this.#queue.isEmpty) {
        const busy = tell(this.#take());
        if (busy) await busy;
        this.#tellRoom();
      }
      if (this.#failure) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): SubscriptionEvent[] {
    const count = this.#queue.takeDropped();
    const events = this.#queue.take(CHUNK_BYTES);
    if (count > 0) events.unshift({ event: { $case: 'dropped', value: { count: BigInt(count) } } });
    return events;
  }

  #tellRoom(): void {
    if (!this.#ended && this.#queue.bytes > this.#queue.bytesMax / 2) return;
    const waiting = this.#makeRoom;
    this.#makeRoom = [];
    for (const resolve of waiting) resolve();
  }

  #sendAway(): void {
    this.#options.onDisconnected();
    this.end(slowConsumer(this.#queue.bytesMax));
  }
}

/** The last one that was made: all subscribers to a feed get the same object. */
let last: { feed: string; publication: Publication; event: SubscriptionEvent } | undefined;

function eventOf(feed: string, publication: Publication): SubscriptionEvent {
  if (last?.publication !== publication || last.feed !== feed) last = { feed, publication, event: toEvent(feed, publication) };
  return last.event;
}
