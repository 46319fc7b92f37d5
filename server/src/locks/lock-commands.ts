import type { GrantedResult, NotHeldResult, ReleaseResult } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { CancelAcquireRequest, ExtendRequest, ExtendResponse, ReleaseRequest, ReleaseRun } from '../gen/stafett/v1/lock.js';
import { checkDuration, checkId, checkLockId, isId } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { TTL_MS_MIN } from './acquire-plan.js';
import type { Acquires } from './acquires.js';
import type { LockMetrics } from './lock-metrics.js';
import { toGrant } from './lock-views.js';
import { lockHeldBySession, lockNotHeld } from './refusals.js';
import { planReleaseRun } from './runs.js';

/** Release, extend and cancel: the same for unary calls and for pipelines. Told by callback, for pipelines carry many. */

type Done<T = undefined> = (error: Error | undefined, value?: T) => void;

export function release(engine: NamespaceEngine, metrics: LockMetrics, { lockId }: ReleaseRequest, done: Done): void {
  checkLockId('lock_id', lockId);
  engine.submit<'release'>(['release', lockId], (error, result) => {
    if (error || !result) return done(error);
    if (result[0] === 'not_held') return done(notHeld(result));
    if (result[2] !== undefined) metrics.held(result[2], result[1] as number);
    done(undefined);
  });
}

/** Told how the releases of a run went, part by part. */
export interface ReleaseRunListener {
  /** Those went well: their offsets, counted from `from`. */
  done(from: number, offsets: number[]): void;
  failed(offset: number, error: Error | undefined): void;
}

export function releaseRun(engine: NamespaceEngine, metrics: LockMetrics, run: ReleaseRun, listener: ReleaseRunListener): void {
  for (const { command, from } of planReleaseRun(run)) {
    engine.submit<'releases'>(command, (error, result) => {
      const done: number[] = [];
      for (let [i, next] = [0, 0]; i < command.length - 2; i++) {
        const own = result?.[next++];
        const [verb, heldMs, name] = typeof own === 'number' ? ['released', own, result?.[next++]] : ((own ?? []) as ReleaseResult);
        if (verb !== 'released') listener.failed(from + i, own ? notHeld(own as NotHeldResult) : error);
        else done.push(i);
        if (verb === 'released' && name !== undefined) metrics.held(name as string, heldMs as number);
      }
      listener.done(from, done);
    });
  }
}

export function extend(engine: NamespaceEngine, maxTtlMs: number, request: ExtendRequest, done: Done<ExtendResponse>): void {
  const { lockId } = request;
  checkLockId('lock_id', lockId);
  const ttlMs = request.ttl ? checkDuration('ttl', request.ttl, TTL_MS_MIN, maxTtlMs) : 0;
  if (!lockId.startsWith('~')) throw lockHeldBySession(lockId);
  engine.submit<'extend'>(['extend', lockId, ttlMs], (error, result) => {
    if (error || !result) return done(error);
    if (result[0] === 'not_held') return done(notHeld(result));
    const [verb, token, since, deadline, leaseTtlMs, names] = result;
    const granted: GrantedResult = [verb, token, since, deadline, leaseTtlMs];
    done(undefined, { grant: toGrant({ lockId, names, result: granted, epoch: engine.epoch.id }) });
  });
}

/** What an acquire is cancelled with. */
interface Cancelling {
  readonly engine: NamespaceEngine;
  readonly acquires: Acquires;
  /** The client's connection, or 0. */
  readonly generation?: number;
}

export function cancelAcquire({ engine, acquires, generation = 0 }: Cancelling, request: CancelAcquireRequest, done: Done): void {
  checkId('request_id', request.requestId);
  if (request.sessionId !== '' && !isId(request.sessionId)) throw sessionNotFound(request.sessionId);
  const lockId = request.sessionId === '' ? `~${request.requestId}.0` : `${request.sessionId}.${request.requestId}`;
  engine.submit<'cancel'>(['cancel', lockId, '', generation], (error, result) => {
    if (result?.[0] === 'none') acquires.overtaken(lockId);
    done(error);
  });
}

function notHeld([, lockId, blockers, how]: NotHeldResult): Error {
  return lockNotHeld(lockId, blockers, how);
}
