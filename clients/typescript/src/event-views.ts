import type { PresenceMember, Publication, Position as WirePosition } from './gen/stafett/v1/event.js';
import { toDate } from './views.js';

/** A place in the stream of a namespace's publications. Plain data: keep it wherever you like, to go on there later. */
export interface Position {
  /** The life of Redis' data that it belongs to. */
  readonly epoch: string;
  /** Grows with every publication of the namespace. */
  readonly offset: number;
}

/** An event that was published. */
export interface PublicationView {
  readonly channel: string;
  readonly data: unknown;
  /** What it is about; may be empty. */
  readonly key: string;
  /** Undefined if the channel keeps no history. */
  readonly position: Position | undefined;
  readonly publishTime: Date;
}

/** A subscriber of a channel that wanted to be seen. */
export interface MemberView {
  readonly channel: string;
  readonly memberId: string;
  readonly sessionId: string;
  readonly client: string;
  readonly host: string;
  readonly joinTime: Date;
}

/** News of a subscription, told apart by `type`. */
export type ChannelEvent =
  | (PublicationView & {
      readonly type: 'publication';
      /** What was subscribed to: the channel itself, or a prefix. */
      readonly subscription: string;
    })
  | {
      /**
       * What follows in the channel, or prefix, comes after the position. `recovered`: it continues what was told before, or the `since`, without
       * a gap. If it is false something was, or may have been, missed: read anew whatever you derive from the events.
       */
      readonly type: 'subscribed';
      readonly channel: string;
      readonly position: Position;
      readonly recovered: boolean;
    }
  | {
      /** So many publications were dropped, because this subscriber was too slow. */
      readonly type: 'dropped';
      readonly count: number;
    }
  | { readonly type: 'join' | 'leave'; readonly channel: string; readonly member: MemberView };

export function toPosition({ epoch, offset }: WirePosition): Position {
  return { epoch, offset: Number(offset) };
}

export function fromPosition({ epoch, offset }: Position): WirePosition {
  return { epoch, offset: BigInt(offset) };
}

export function toPublicationView({ channel, data, key, position, publishTime }: Publication): PublicationView {
  return { channel, data: JSON.parse(data), key, position: position && toPosition(position), publishTime: toDate(publishTime) };
}

export function toMemberView({ channel, memberId, sessionId, client, host, joinTime }: PresenceMember): MemberView {
  return { channel, memberId, sessionId, client, host, joinTime: toDate(joinTime) };
}
