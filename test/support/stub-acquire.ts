import type { AcquireRequest, AcquireResponse, Contention, DeepPartial, Grant } from '../../server/src/gen/stafett/v1/lock.js';
import { toDuration } from './stub-duration.js';

/** How an acquire went: exactly one of them. */
export interface Outcome {
  readonly grant?: Grant;
  readonly contention?: Contention;
}

export interface AcquireOptions {
  /** Without one the grant has a lease of its own. */
  readonly session?: { readonly id: string };
  /** Of the lease. Default: 20 s. */
  readonly ttlMs?: number;
  readonly waitMs?: number;
  readonly requestId?: string;
  /** What the context holds already. */
  readonly held?: readonly Pick<Grant, 'lockId'>[];
  readonly owner?: AcquireRequest['owner'];
  readonly purpose?: string;
}

const LEASE_TTL_MS = 20_000;

export function acquireRequest(names: string | readonly string[], options: AcquireOptions = {}): DeepPartial<AcquireRequest> {
  const { session, ttlMs = LEASE_TTL_MS, waitMs, requestId = '', held = [], owner, purpose = '' } = options;
  return {
    names: [names].flat(),
    requestId,
    purpose,
    heldLockIds: held.map(({ lockId }) => lockId),
    ...(session ? { sessionId: session.id } : { ttl: toDuration(ttlMs) }),
    ...(waitMs !== undefined && { waitTimeout: toDuration(waitMs) }),
    ...(owner && { owner }),
  };
}

export function toOutcome({ outcome }: AcquireResponse): Outcome {
  if (outcome === undefined) throw new Error('an AcquireResponse without an outcome');
  return outcome.$case === 'grant' ? { grant: outcome.value } : { contention: outcome.value };
}

export function granted({ grant }: Outcome): Grant {
  if (grant === undefined) throw new Error('expected a grant, and somebody else has it');
  return grant;
}

/** A promise whose failure is only told to those who ask: a test need not wait for everybody whom it leaves waiting. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
