import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { KeepAliveRequest, KeepAliveResponse, SessionState } from '../gen/stafett/v1/session.js';
import { invalidField } from '../rpc/errors.js';
import { isId, toTimestamp } from '../rpc/fields.js';

const SESSIONS_PER_REQUEST_MAX = 1_000;
/** Responses that wait for one reader; keepalives are few, so one that lets so many wait does not read at all. */
const RESPONSES_MAX = 10_000;

/** One KeepAlive stream: answers each request in order, and passes on news of the sessions that it has kept alive. */
export class KeepAliveStream {
  readonly #engine: NamespaceEngine;
  readonly #sessions = new Set<string>();
  #responses: KeepAliveResponse[] = [];
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
  }

  async *run(requests: AsyncIterable<KeepAliveRequest>, signal: AbortSignal): AsyncIterable<KeepAliveResponse> {
    const onAbort = () => this.#end();
    const onRevoked = (sid: string, lockId: string) => this.#onRevoked(sid, lockId);
    const onEpoch = () => this.#onEpoch();
    signal.addEventListener('abort', onAbort);
    this.#engine.events.on('revoked', onRevoked).on('epoch', onEpoch);
    void this.#read(requests);
    try {
      while (!signal.aborted) {
        const responses = this.#responses;
        this.#responses = [];
        yield* responses;
        if (this.#responses.length > 0) continue;
        if (this.#failure) throw this.#failure;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.#engine.events.off('revoked', onRevoked).off('epoch', onEpoch);
    }
  }

  /** Asks the client to go to another server. */
  move(): void {
    this.#push({ sequence: 0n, states: [], moving: true });
  }

  async #read(requests: AsyncIterable<KeepAliveRequest>): Promise<void> {
    try {
      for await (const request of requests) {
        checkRequest(request);
        const states = await Promise.all(request.sessionIds.map((id) => this.#keep(id)));
        this.#push({ sequence: request.sequence, states, moving: false });
      }
      this.#end();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  async #keep(sessionId: string): Promise<SessionState> {
    const result = isId(sessionId) ? await this.#engine.run<'keep'>(['keep', sessionId, 0], true) : (['gone'] as const);
    if (result[0] === 'unconfirmed') return mustAssert(sessionId);
    if (result[0] === 'gone') {
      this.#sessions.delete(sessionId);
      return { sessionId, alive: false, expireTime: undefined, revokedLockIds: [], mustAssert: false };
    }
    this.#sessions.add(sessionId);
    const revokedLockIds = Array.isArray(result[2]) ? result[2] : [];
    return { sessionId, alive: true, expireTime: toTimestamp(result[1]), revokedLockIds, mustAssert: false };
  }

  #onEpoch(): void {
    if (this.#sessions.size === 0) return;
    this.#push({ sequence: 0n, states: [...this.#sessions].map(mustAssert), moving: false });
  }

  #onRevoked(sessionId: string, lockId: string): void {
    if (!this.#sessions.has(sessionId)) return;
    const state = { sessionId, alive: true, expireTime: undefined, revokedLockIds: [lockId], mustAssert: false };
    this.#push({ sequence: 0n, states: [state], moving: false });
  }

  #push(response: KeepAliveResponse): void {
    if (this.#responses.length >= RESPONSES_MAX) return this.#end(new Error('a KeepAlive stream is not read'));
    this.#responses.push(response);
    this.#wake();
  }

  #end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
  }
}

function mustAssert(sessionId: string): SessionState {
  return { sessionId, alive: false, expireTime: undefined, revokedLockIds: [], mustAssert: true };
}

function checkRequest({ sequence, sessionIds }: KeepAliveRequest): void {
  if (sequence === 0n) throw invalidField('sequence', 'must be above 0');
  if (sessionIds.length > SESSIONS_PER_REQUEST_MAX) {
    throw invalidField('session_ids', `${sessionIds.length} sessions; at most ${SESSIONS_PER_REQUEST_MAX} are allowed`);
  }
}
