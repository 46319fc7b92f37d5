import type { AcquiresCommand, ReleasesCommand } from '../engine/commands.js';
import type { AcquireRequest, AcquireRun, ReleaseRequest, ReleaseRun } from '../gen/stafett/v1/lock.js';
import { invalidField } from '../rpc/errors.js';
import { checkName, checkNotReserved, isId } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { type AcquirePlan, checkOwner, checkWait } from './acquire-plan.js';
import { packOwner } from './lock-views.js';

/** Commands of a run that go to the engine together, at the most: what keeps a call of its script short. */
const PART_MAX = 128;

/** Checked acquires of one session, alike but for their names; the request ids count on from the first. */
export interface RunPlan {
  readonly command: AcquiresCommand;
  readonly sid: string;
  readonly firstRequest: number;
  readonly names: readonly string[];
  readonly waitMs: number;
  /** Where it begins in the run that was asked for. */
  readonly from: number;
}

/** Checked releases. */
export interface ReleasePlan {
  readonly command: ReleasesCommand;
  readonly from: number;
}

/** How many commands it stands for. @throws {StafettError} INVALID_ARGUMENT */
export function checkAcquireRun({ names, sessionId, firstRequest }: AcquireRun): number {
  if (sessionId === '') throw invalidField('acquire_run.session_id', 'is needed: a run has no leases');
  if (names.length === 0) throw invalidField('acquire_run.names', 'at least one name is needed');
  checkRequests('acquire_run.first_request', firstRequest, names.length - 1);
  return names.length;
}

/** How many commands it stands for. @throws {StafettError} INVALID_ARGUMENT */
export function checkReleaseRun({ firstRequest, offsets }: ReleaseRun): number {
  if (offsets.length === 0) throw invalidField('release_run.offsets', 'at least one is needed');
  checkRequests('release_run.first_request', firstRequest, Math.max(...offsets));
  return offsets.length;
}

function checkRequests(field: string, first: bigint, offsetMax: number): void {
  const isExact = first > 0n && first + BigInt(offsetMax) <= BigInt(Number.MAX_SAFE_INTEGER);
  if (!isExact) throw invalidField(field, `must be above 0, and all request ids at most ${Number.MAX_SAFE_INTEGER}`);
}

/**
 * @param run checked by `checkAcquireRun`.
 * @throws {StafettError} if anything is wrong with any of them. Each alone will tell.
 */
export function planAcquireRun(run: AcquireRun, generation: number): RunPlan[] {
  const { sessionId: sid, names } = run;
  if (!isId(sid)) throw sessionNotFound(sid);
  for (const name of names) {
    checkName('names', name);
    checkNotReserved('names', name);
  }
  checkOwner(run);
  const waitMs = checkWait(run);
  const owner = packOwner(run.owner, run.purpose);
  const plans: RunPlan[] = [];
  for (let from = 0; from < names.length; from += PART_MAX) {
    const firstRequest = Number(run.firstRequest) + from;
    const part = from === 0 && names.length <= PART_MAX ? names : names.slice(from, from + PART_MAX);
    const command: AcquiresCommand = ['acquires', sid, waitMs > 0 ? 1 : 0, owner, generation];
    for (let i = 0; i < part.length; i++) command.push(String(firstRequest + i), part[i] as string);
    plans.push({ command, sid, firstRequest, names: part, waitMs, from });
  }
  return plans;
}

export function lockIdOf({ sid, firstRequest }: RunPlan, i: number): string {
  return `${sid}.${firstRequest + i}`;
}

/** One of them as an acquire like any other. */
export function planAlone(plan: RunPlan, i: number): AcquirePlan {
  const { command, sid, firstRequest, names, waitMs } = plan;
  const [, , wait, owner, generation] = command;
  const requestId = String(firstRequest + i);
  const own = [names[i] as string];
  const alone = { lockId: lockIdOf(plan, i), sid, names: own, waitMs, leaseTtlMs: 0 };
  return { ...alone, command: ['acquire', sid, requestId, own, wait, owner, false, 0, 0, generation] };
}

/** @param run checked by `checkReleaseRun`, and of a session. */
export function planReleaseRun({ sessionId: sid, firstRequest, offsets }: ReleaseRun): ReleasePlan[] {
  const first = Number(firstRequest);
  const plans: ReleasePlan[] = [];
  for (let from = 0; from < offsets.length; from += PART_MAX) {
    const command: ReleasesCommand = ['releases', sid];
    const to = Math.min(from + PART_MAX, offsets.length);
    for (let i = from; i < to; i++) command.push(String(first + (offsets[i] as number)));
    plans.push({ command, from });
  }
  return plans;
}

/** One of them as a request like any other. */
export function acquireAlone({ names, sessionId, firstRequest, waitTimeout, owner, purpose }: AcquireRun, i: number): AcquireRequest {
  const requestId = String(firstRequest + BigInt(i));
  return { names: [names[i] as string], sessionId, requestId, waitTimeout, owner, purpose, ttl: undefined, heldLockIds: [] };
}

/** One of them as a request like any other. */
export function releaseAlone({ sessionId, firstRequest, offsets }: ReleaseRun, i: number): ReleaseRequest {
  return { lockId: `${sessionId}.${firstRequest + BigInt(offsets[i] as number)}` };
}
