import type { GrantedResult, HolderView, LockView, PastView, WaiterView } from '../engine/commands.js';
import type { Contention, Grant, Holder, Lock, Owner, PastHolder, Waiter } from '../gen/stafett/v1/lock.js';
import { toDuration, toTimestamp } from '../rpc/fields.js';

/** From what the engine shows to what the API shows. */

/** What the engine keeps of an acquire's owner, as one opaque string: '' when all of it is the session's. */
export function packOwner(owner: Owner | undefined, purpose: string): string {
  if (!owner) return purpose === '' ? '' : JSON.stringify(['', '', '', '', purpose]);
  return JSON.stringify([owner.host, owner.thread, owner.client, owner.traceId, purpose]);
}

function unpackOwner(packed: string, sessionPacked: string): { owner: Owner; purpose: string } {
  const [host = '', thread = '', client = '', traceId = '', purpose = ''] = parse(packed);
  const [name = '', version = '', sessionHost = ''] = parse(sessionPacked);
  const sessionClient = version === '' ? name : `${name}/${version}`;
  return { owner: { host: host || sessionHost, thread, client: client || sessionClient, traceId }, purpose };
}

function parse(packed: string): string[] {
  return packed === '' ? [] : JSON.parse(packed);
}

/** A lease is a session of its own to the engine, but not to the world. */
function sessionIdOf(sid: string): string {
  return sid.startsWith('~') ? '' : sid;
}

export function toHolder([sid, owner, sessionOwner, token, since, until]: HolderView): Holder {
  return {
    sessionId: sessionIdOf(sid),
    ...unpackOwner(owner, sessionOwner),
    fencingToken: BigInt(token),
    acquireTime: toTimestamp(since),
    expireTime: toTimestamp(until),
  };
}

export function toPastHolder([sid, owner, sessionOwner, token, since, until, endReason]: PastView): PastHolder {
  return {
    sessionId: sessionIdOf(sid),
    ...unpackOwner(owner, sessionOwner),
    fencingToken: BigInt(token),
    acquireTime: toTimestamp(since),
    endTime: toTimestamp(until),
    endReason,
  };
}

function toWaiter([sid, owner, sessionOwner, since]: WaiterView): Waiter {
  return { sessionId: sessionIdOf(sid), ...unpackOwner(owner, sessionOwner), enqueueTime: toTimestamp(since) };
}

/** Lua's empty list may come as an empty object. */
function list<T>(value: T[]): T[] {
  return Array.isArray(value) ? value : [];
}

export function toLock([name, holder, waiterCount]: LockView, waiters: WaiterView[] = [], history: PastView[] = []): Lock {
  return {
    name,
    holder: holder ? toHolder(holder) : undefined,
    waiterCount,
    waiters: list(waiters).map(toWaiter),
    history: list(history).map(toPastHolder),
  };
}

export function toContention(blockers: LockView[], timedOut: boolean): Contention {
  const locks = list(blockers).map((view) => toLock(view));
  return { blockers: locks, queueLength: Math.max(0, ...locks.map((lock) => lock.waiterCount)), timedOut };
}

interface GrantFacts {
  readonly lockId: string;
  readonly names: string[];
  readonly result: GrantedResult;
  readonly epoch: string;
}

export function toGrant({ lockId, names, result: [, token, since, deadline, ttlMs], epoch }: GrantFacts): Grant {
  return {
    lockId,
    names,
    fencingToken: BigInt(token),
    acquireTime: toTimestamp(since),
    expireTime: toTimestamp(deadline),
    ttl: ttlMs > 0 ? toDuration(ttlMs) : undefined,
    epoch,
  };
}
