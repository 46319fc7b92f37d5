import type { EntryView } from '../engine/commands.js';
import type { SubscriptionEvent } from '../gen/stafett/v1/event.js';
import { toTimestamp } from '../rpc/fields.js';

/** A place in the stream of the namespace's publications: all up to it is known. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** An event of a channel, on its way to whoever listens. One object for all of them. */
export interface Publication {
  readonly channel: string;
  readonly epoch: string;
  /** 0: it is not kept. */
  readonly offset: number;
  /** The offset before it in each of its feeds; see `feedsOf`. */
  readonly before: readonly number[];
  readonly time: number;
  readonly key: string;
  readonly data: string;
}

/** What one publication costs besides its texts, in bytes; about. */
const OVERHEAD_BYTES = 200;

/** What it takes in a queue: texts in memory have one or two bytes for each character. */
export function bytesOf({ channel, key, data }: Publication): number {
  return OVERHEAD_BYTES + (channel.length + key.length + data.length) * 2;
}

export function fromEntry(epoch: string, [channel, offset, before, time, key, data]: EntryView): Publication {
  return { channel, epoch, offset, before, time, key, data };
}

export function toPosition({ epoch, offset }: Position) {
  return { epoch, offset: BigInt(offset) };
}

/** As it is told to those who have subscribed to the feed. */
export function toEvent(subscription: string, publication: Publication): SubscriptionEvent {
  return { event: { $case: 'publication', value: toMessage(subscription, publication) } };
}

export function toMessage(subscription: string, publication: Publication) {
  const { channel, data, key, offset, time } = publication;
  return { channel, subscription, data, key, position: offset > 0 ? toPosition(publication) : undefined, publishTime: toTimestamp(time) };
}
