import { Status } from 'nice-grpc-common';
import type { AcquireResult, HolderView, LockView } from '../engine/commands.js';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { EndReason } from '../gen/stafett/v1/lock.js';
import { gracePeriod, type Metadata, StafettError } from '../rpc/errors.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { toHolder } from './lock-views.js';

/** What the engine refuses, as errors that say what happened, to whom, and what to do. */

const RETRY_MS = 1_000;

const HOW_ENDED: Record<number, string> = {
  [EndReason.RELEASED]: 'it was released',
  [EndReason.EXPIRED]: 'it has expired, or never was',
  [EndReason.FORCED]: 'it was taken away by ForceRelease',
  [EndReason.SESSION_CLOSED]: 'its session was closed',
};

/** A name for people: quoted, and safe to print. */
function quote(name: string): string {
  return JSON.stringify(name);
}

function describe(holder: HolderView | false): string {
  if (!holder) return 'nobody';
  const { owner, purpose } = toHolder(holder);
  const who = [owner?.client, owner?.host, owner?.thread].filter(Boolean).join(' ') || 'somebody unnamed';
  return purpose ? `${who} for ${quote(purpose)}` : who;
}

function holderMetadata(blockers: LockView[]): Metadata {
  const blocked = (Array.isArray(blockers) ? blockers : []).find((view) => view[1]);
  if (!blocked?.[1]) return {};
  const holder = toHolder(blocked[1]);
  return {
    holder_name: blocked[0],
    holder_client: holder.owner?.client ?? '',
    holder_host: holder.owner?.host ?? '',
    holder_thread: holder.owner?.thread ?? '',
    holder_purpose: holder.purpose,
    holder_fencing_token: holder.fencingToken.toString(),
    holder_since: new Date(blocked[1][4]).toISOString(),
  };
}

export function lockNotHeld(lockId: string, blockers: LockView[] = [], how: number = EndReason.EXPIRED): StafettError {
  const names = (Array.isArray(blockers) ? blockers : []).filter((view) => view[1]);
  const now = names.map((view) => `${quote(view[0])} is now held by ${describe(view[1])}`).join('; ');
  const what =
    lockId === '' ? 'the fencing_token is not the present holder’s' : `lock ${lockId} is not held: ${HOW_ENDED[how] ?? 'it has ended'}`;
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.LOCK_NOT_HELD,
    now === '' ? `${what}; acquire again if it is still needed` : `${what}; ${now}`,
    { lock_id: lockId, ...holderMetadata(blockers) },
  );
}

export function lockHeldBySession(lockId: string): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.LOCK_HELD_BY_SESSION,
    `lock ${lockId} hangs on a session and lives as long as that; keep the session alive instead`,
    { lock_id: lockId },
  );
}

export function cancelled(lockId: string): StafettError {
  return new StafettError(Status.CANCELLED, ErrorReason.CANCELLED, `the acquire ${lockId} was cancelled by its caller`, {
    lock_id: lockId,
  });
}

/** @param limit the variable that sets it. */
export function serverFull(limit: string): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.SERVER_FULL,
    `as many acquires as may wait for an answer of this server; try again later or another server, or raise ${limit}`,
    { limit },
    RETRY_MS,
  );
}

function tooManyWaiters(name: string): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_WAITERS,
    `the queue of ${quote(name)} is full; try again later, or raise STAFETT_MAX_WAITERS_PER_LOCK`,
    { name },
    RETRY_MS,
  );
}

function tooManyLocks(sid: string): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_LOCKS,
    `session ${sid} has as many grants and waiting acquires as it may have; release some, or raise STAFETT_MAX_LOCKS_PER_SESSION`,
    { session_id: sid },
    RETRY_MS,
  );
}

function requestIdReused(names: string[]): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.REQUEST_ID_REUSED,
    `the request_id is in use for an acquire of ${names.map(quote).join(', ')}; use a new one for every acquire`,
    { names: JSON.stringify(names) },
  );
}

function deadlock(cycle: [string, HolderView | false][]): StafettError {
  const links = cycle.map(([name, holder]) => `${quote(name)} held by ${describe(holder)}`);
  const facts = cycle.map(([name, holder]) => ({ name, ...(holder && holderFacts(holder)) }));
  return new StafettError(
    Status.ABORTED,
    ErrorReason.DEADLOCK,
    `waiting would never end: ${links.join(', who waits for ')}, which is this caller; release what is held and try again`,
    { names: JSON.stringify(cycle.map(([name]) => name)), cycle: JSON.stringify(facts) },
  );
}

function holderFacts(view: HolderView): object {
  const { owner, purpose, sessionId, fencingToken } = toHolder(view);
  return { sessionId, purpose, fencingToken: fencingToken.toString(), ...owner };
}

/** The error for a result of `acquire` that is neither a grant nor a place in the queue nor contention. */
export function acquireRefusal(result: AcquireResult, sid: string): StafettError {
  switch (result[0]) {
    case 'gone':
      return sessionNotFound(sid);
    case 'reused':
      return requestIdReused(result[1]);
    case 'not_held':
      return lockNotHeld(result[1]);
    case 'too_many_locks':
      return tooManyLocks(sid);
    case 'too_many_waiters':
      return tooManyWaiters(result[1]);
    case 'deadlock':
      return deadlock(result[1]);
    case 'grace':
      return gracePeriod(result[1]);
    default:
      throw new Error(`no refusal: ${result[0]}`);
  }
}
