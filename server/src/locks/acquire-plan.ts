import { randomUUID } from 'node:crypto';
import type { AcquireCommand } from '../engine/commands.js';
import type { AcquireRequest, Owner } from '../gen/stafett/v1/lock.js';
import { invalidField } from '../rpc/errors.js';
import { checkDuration, checkId, checkLockId, checkNames, checkNotReserved, checkText, isId } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { packOwner } from './lock-views.js';

export const TTL_MS_MIN = 1_000;
const WAIT_MS_MAX = 24 * 60 * 60 * 1_000;
const HELD_MAX = 1_000;

/** A checked acquire: what to send to the engine, and how long to wait. */
export interface AcquirePlan {
  readonly command: AcquireCommand;
  readonly lockId: string;
  /** The session, or the lease's own. */
  readonly sid: string;
  readonly names: string[];
  readonly waitMs: number;
  /** 0 under a session. */
  readonly leaseTtlMs: number;
}

/**
 * @param caller who asks as far as the connection tells, for a lease whose request does not say.
 * @param generation which of the client's connections this is, or 0.
 * @throws {StafettError} INVALID_ARGUMENT, naming the field.
 */
export function planAcquire(request: AcquireRequest, maxTtlMs: number, caller?: Owner, generation = 0): AcquirePlan {
  checkNames(request.names);
  for (const name of request.names) checkNotReserved('names', name);
  checkOwner(request);
  const leaseTtlMs = request.sessionId === '' ? leaseTtl(request, maxTtlMs) : 0;
  if (leaseTtlMs === 0 && !isId(request.sessionId)) throw sessionNotFound(request.sessionId);
  if (leaseTtlMs === 0 && request.ttl)
    throw invalidField('ttl', 'must be absent with a session_id: the grant lives as long as its session');
  if (request.requestId !== '') checkId('request_id', request.requestId);
  const waitMs = checkWait(request);
  const requestId = request.requestId || randomUUID();
  const sid = leaseTtlMs > 0 ? `~${requestId}` : request.sessionId;
  const rid = leaseTtlMs > 0 ? '0' : requestId;
  const owner = packOwner(request.owner ?? (leaseTtlMs > 0 ? caller : undefined), request.purpose);
  return {
    command: ['acquire', sid, rid, request.names, waitMs > 0 ? 1 : 0, owner, contextOf(request), leaseTtlMs, 0, generation],
    lockId: `${sid}.${rid}`,
    sid,
    names: request.names,
    waitMs,
    leaseTtlMs,
  };
}

export function checkWait({ waitTimeout }: Pick<AcquireRequest, 'waitTimeout'>): number {
  return waitTimeout ? checkDuration('wait_timeout', waitTimeout, 0, WAIT_MS_MAX) : 0;
}

function leaseTtl(request: AcquireRequest, maxTtlMs: number): number {
  if (!request.ttl) throw invalidField('ttl', 'is needed without a session_id: how long the lease lasts');
  return checkDuration('ttl', request.ttl, TTL_MS_MIN, maxTtlMs);
}

export function checkOwner({ owner, purpose }: Pick<AcquireRequest, 'owner' | 'purpose'>): void {
  checkText('purpose', purpose);
  if (!owner) return;
  checkText('owner.host', owner.host);
  checkText('owner.thread', owner.thread);
  checkText('owner.client', owner.client);
  checkText('owner.trace_id', owner.traceId, 64);
}

function contextOf({ heldLockIds, sessionId }: AcquireRequest): string[] | false {
  if (heldLockIds.length === 0) return false;
  if (sessionId === '') throw invalidField('held_lock_ids', 'needs a session_id: a lease is nobody’s context');
  if (heldLockIds.length > HELD_MAX) throw invalidField('held_lock_ids', `${heldLockIds.length} ids; at most ${HELD_MAX} are allowed`);
  for (const id of heldLockIds) checkLockId('held_lock_ids', id);
  return heldLockIds;
}
