import type { CommandOf } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { AssertedGrant, AssertSessionRequest, AssertSessionResponse } from '../gen/stafett/v1/session.js';
import { checkOwner } from '../locks/acquire-plan.js';
import { packOwner } from '../locks/lock-views.js';
import { invalidField } from '../rpc/errors.js';
import { checkLockId, checkNames, fromTimestamp, isId, toTimestamp } from '../rpc/fields.js';
import { checkSession } from './check-session.js';
import { sessionNotFound, tooManySessions } from './refusals.js';

const GRANTS_MAX = 1_000;
/** Tokens are microseconds since 1970; none is later than the year 2255. */
const TOKEN_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** A checked assertion: what to send to the engine. */
interface AssertionPlan {
  readonly sid: string;
  readonly reopen: CommandOf<'reopen'>;
  readonly claims: { readonly lockId: string; readonly command: CommandOf<'claim'> }[];
  readonly more: boolean;
}

/** @throws {StafettError} INVALID_FIELD, SESSION_NOT_FOUND */
export function planAssertion(request: AssertSessionRequest, maxTtlMs: number, generation: number): AssertionPlan {
  const { sessionId: sid, grants, highestFencingToken, more } = request;
  if (!isId(sid)) throw sessionNotFound(sid);
  const [ttlMs, owner] = checkSession(request, maxTtlMs);
  const highest = checkToken('highest_fencing_token', highestFencingToken);
  if (grants.length > GRANTS_MAX) throw invalidField('grants', `${grants.length} grants; at most ${GRANTS_MAX} are allowed`);
  const claims = grants.map((grant) => ({ lockId: grant.lockId, command: planClaim(sid, grant, generation) }));
  return { sid, reopen: ['reopen', sid, ttlMs, owner, highest, generation], claims, more };
}

function planClaim(sid: string, grant: AssertedGrant, generation: number): CommandOf<'claim'> {
  const { lockId, names, fencingToken, acquireTime, owner, purpose } = grant;
  checkLockId('grants.lock_id', lockId);
  checkNames(names);
  checkOwner(grant);
  if (!lockId.startsWith(`${sid}.`)) throw invalidField('grants.lock_id', 'is not of this session');
  const token = checkToken('grants.fencing_token', fencingToken);
  const since = acquireTime ? fromTimestamp(acquireTime) : 0;
  return ['claim', sid, lockId.slice(sid.length + 1), names, token, since, packOwner(owner, purpose), generation];
}

function checkToken(field: string, token: bigint): number {
  if (token > TOKEN_MAX) throw invalidField(field, 'is no token: it is too high');
  return Number(token);
}

/** Brings a session and its grants into the present epoch. @throws {StafettError} SESSION_NOT_FOUND when it is too late. */
export async function assertSession(engine: NamespaceEngine, plan: AssertionPlan): Promise<AssertSessionResponse> {
  const { sid, reopen, claims, more } = plan;
  // All at once, so that they stay together and in order.
  const opening = engine.run<'reopen'>(reopen, true);
  const claiming = claims.map(({ command }) => engine.run<'claim'>(command, true));
  const [opened, ...claimed] = await Promise.all([opening, ...claiming]);
  if (opened[0] === 'too_many_sessions') throw tooManySessions();
  if (opened[0] === 'gone') throw sessionNotFound(sid);
  const { id: epoch } = engine.epoch;
  if (!more) engine.events.emit('asserted', sid);
  const lostLockIds = claims.filter((_, i) => claimed[i]?.[0] !== 'granted').map(({ lockId }) => lockId);
  return { expireTime: toTimestamp(opened[2]), epoch, lostLockIds };
}
