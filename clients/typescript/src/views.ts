import type { Timestamp } from './gen/google/protobuf/timestamp.js';
import type { Contention as ProtoContention } from './gen/stafett/v1/lock.js';
import { EndReason, type Holder, type Owner, type PastHolder, type Lock as ProtoLock } from './gen/stafett/v1/lock.js';

/** Who has, had or wants a lock. */
export interface WhoView {
  /** The session; empty for a lease. */
  readonly sessionId: string;
  readonly host: string;
  readonly thread: string;
  readonly client: string;
  readonly traceId: string;
  readonly purpose: string;
}

/** Who has a lock; times by the clock of Redis. */
export interface HolderView extends WhoView {
  readonly fencingToken: bigint;
  readonly acquireTime: Date;
  /** Until when, unless the session is kept alive. */
  readonly expireTime: Date;
}

export type HoldEnd = 'RELEASED' | 'EXPIRED' | 'FORCED' | 'SESSION_CLOSED';

/** Who had a lock; times by the clock of Redis. */
export interface PastHolderView extends WhoView {
  readonly fencingToken: bigint;
  readonly acquireTime: Date;
  readonly endTime: Date;
  readonly endReason: HoldEnd;
}

/** A name that is or was locked. */
export interface LockView {
  readonly name: string;
  readonly holder: HolderView | undefined;
  readonly waiterCount: number;
  /** The first in the queue, at most 10; only from `get`. */
  readonly waiters: readonly (WhoView & { readonly enqueueTime: Date })[];
  /** The last holders, latest first, at most 10; only from `get` and `watch`. */
  readonly history: readonly PastHolderView[];
}

/** Who is in the way. */
export interface ContentionView {
  readonly blockers: readonly LockView[];
  /** The longest of the blockers' queues. */
  readonly queueLength: number;
  /** It waited, in vain. */
  readonly timedOut: boolean;
}

export function toDate(timestamp: Timestamp | undefined): Date {
  return new Date(timestamp ? Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1e6) : 0);
}

function toWho({ sessionId, owner, purpose }: { sessionId: string; owner: Owner | undefined; purpose: string }): WhoView {
  const { host = '', thread = '', client = '', traceId = '' } = owner ?? {};
  return { sessionId, host, thread, client, traceId, purpose };
}

export function toHolderView(holder: Holder): HolderView {
  const { fencingToken, acquireTime, expireTime } = holder;
  return { ...toWho(holder), fencingToken, acquireTime: toDate(acquireTime), expireTime: toDate(expireTime) };
}

export function toPastHolderView(past: PastHolder): PastHolderView {
  const { fencingToken, acquireTime, endTime, endReason } = past;
  return {
    ...toWho(past),
    fencingToken,
    acquireTime: toDate(acquireTime),
    endTime: toDate(endTime),
    endReason: EndReason[endReason] as HoldEnd,
  };
}

export function toLockView({ name, holder, waiterCount, waiters, history }: ProtoLock): LockView {
  return {
    name,
    holder: holder && toHolderView(holder),
    waiterCount,
    waiters: waiters.map((waiter) => ({ ...toWho(waiter), enqueueTime: toDate(waiter.enqueueTime) })),
    history: history.map(toPastHolderView),
  };
}

export function toContentionView({ blockers, queueLength, timedOut }: ProtoContention): ContentionView {
  return { blockers: blockers.map(toLockView), queueLength, timedOut };
}
