import type { Connection } from './connection.js';
import { isNotHeld, lockLost, StafettError, sessionLost } from './errors.js';
import type { AcquireRequest, AcquireResponse, Grant as ProtoGrant } from './gen/stafett/v1/lock.js';
import { Grant, type ShownAs, toOwner } from './grant.js';
import type { SessionLife } from './life.js';
import { Lock } from './lock.js';
import { LinkedSignal } from './signals.js';
import { type ContentionView, toContentionView } from './views.js';
import type { Times } from './waiting-room.js';

/** What is asked for. */
export interface Wish extends ShownAs {
  readonly names: string[];
  readonly times: Times;
  readonly signal?: AbortSignal | undefined;
}

const NOTHING: string[] = [];

/** Takes names for a context that holds nothing yet. A session that is lost meanwhile is followed by the next. */
export async function take(connection: Connection, wish: Wish): Promise<Lock | ContentionView> {
  const { times, signal } = wish;
  while (true) {
    signal?.throwIfAborted();
    const found = connection.session(times, signal);
    const life = found instanceof Promise ? await found : found;
    try {
      const result = toResult(connection, life, wish, await ask(connection, life, wish, NOTHING));
      if (result) return result instanceof Grant ? new Lock(wish.names, [result]) : result;
    } catch (error) {
      if (!isLoss(life, error)) throw error;
    }
  }
}

/**
 * Takes names for a context that holds some already: in the session that holds them, and only as long as they are held.
 * @throws {StafettError} LOCK_LOST when one of those is lost, which would make the new ones useless.
 */
export async function takeMore(connection: Connection, wish: Wish, held: ReadonlySet<Grant>): Promise<Grant | ContentionView> {
  const linked = new LinkedSignal(wish.signal);
  const stops = [...held].map((grant) => grant.onLost((reason) => linked.abort(lockLost(grant.names, reason))));
  const [{ life }] = held as unknown as [Grant];
  const heldLockIds = [...held].map(({ lockId }) => lockId);
  const own = { ...wish, signal: linked.signal };
  try {
    while (true) {
      own.signal.throwIfAborted();
      const result = toResult(connection, life, own, await ask(connection, life, own, heldLockIds));
      if (result) return result;
    }
  } catch (error) {
    isLoss(life, error);
    own.signal.throwIfAborted(); // it knows what it is that is lost
    throw isNotHeld(error)
      ? lockLost(
          [...held].flatMap(({ names }) => names),
          error,
        )
      : error;
  } finally {
    for (const stop of stops) stop();
    linked.unlink();
  }
}

function ask(connection: Connection, life: SessionLife, wish: Wish, heldLockIds: string[]): Promise<AcquireResponse> {
  return connection.pipeline.acquire(life, toRequest(wish, life, heldLockIds), wish.times, wish.signal);
}

/** @returns undefined when it is to be asked again. */
function toResult(connection: Connection, life: SessionLife, wish: Wish, { outcome }: AcquireResponse): Grant | ContentionView | undefined {
  if (outcome?.$case === 'grant') return toGrant(connection, life, wish, outcome.value);
  if (outcome?.$case !== 'contention')
    throw new StafettError('INTERNAL', 'INTERNAL', 'the server answered neither with a grant nor why not');
  const { askedAt, waitUntil } = wish.times;
  if (waitUntil === Number.POSITIVE_INFINITY) return undefined; // even the longest wait of a server is over one day
  // When it was asked again at the end of its time, it did not wait; but the caller did.
  return toContentionView({ ...outcome.value, timedOut: waitUntil > askedAt });
}

/** @returns undefined when the grant was lost on the way. */
function toGrant({ pipeline }: Connection, life: SessionLife, wish: Wish, grant: ProtoGrant): Grant | undefined {
  if (life.lost || (life.revokedEarly.size > 0 && life.revokedEarly.delete(grant.lockId))) return undefined;
  if (grant.fencingToken > life.highestToken) life.highestToken = grant.fencingToken;
  if (grant.epoch === life.epoch) return new Grant(life, grant, pipeline, wish);
  pipeline.release(life, grant.lockId).catch(() => {}); // Redis has lost it, and it was not asserted
  return undefined;
}

/** The acquire came to nothing because its session is lost; it held nothing, so the next session can ask again. */
function isLoss(life: SessionLife, error: unknown): boolean {
  if (error instanceof StafettError && error.reason === 'SESSION_NOT_FOUND') {
    life.lose(sessionLost('the server does not know it any more'));
    return true;
  }
  return error === life.lost && life.lost?.reason !== 'CLOSED';
}

function toRequest({ names, owner, purpose = '' }: Wish, life: SessionLife, heldLockIds: string[]): AcquireRequest {
  return {
    names,
    sessionId: life.id,
    ttl: undefined,
    waitTimeout: undefined,
    requestId: life.nextRequestId(),
    owner: toOwner(owner),
    purpose,
    heldLockIds,
  };
}
