import { randomBytes } from 'node:crypto';
import type { SessionView } from '../engine/commands.js';
import type { Engine } from '../engine/engine.js';
import type { KeepAliveRequest, Session, SessionServiceImplementation } from '../gen/stafett/v1/session.js';
import { checkPageSize, checkPageToken, isId, toDuration, toPageToken, toTimestamp } from '../rpc/fields.js';
import { generationOf } from '../rpc/generation.js';
import { assertSession, planAssertion } from './assertion.js';
import { checkSession } from './check-session.js';
import { KeepAliveStream } from './keep-alives.js';
import { sessionNotFound, tooManySessions } from './refusals.js';

/** Keepalives in one TTL. */
const KEEP_ALIVES = 3;

export interface SessionServiceOptions {
  readonly engine: Engine;
  readonly maxTtlMs: number;
}

export interface SessionService extends SessionServiceImplementation<{ namespace: string }> {
  /** Asks all clients to go to another server. */
  drain(): void;
}

export function createSessionService({ engine: engines, maxTtlMs }: SessionServiceOptions): SessionService {
  const streams = new Set<KeepAliveStream>();

  return {
    drain() {
      for (const stream of streams) stream.move();
    },

    async openSession(request, { namespace }) {
      const [ttlMs, owner] = checkSession(request, maxTtlMs);
      const sid = randomBytes(12).toString('base64url');
      const result = await engines.namespace(namespace).run<'open'>(['open', sid, ttlMs, owner]);
      if (result[0] === 'too_many_sessions') throw tooManySessions();
      const session = toSession([sid, ttlMs, result[1], result[2], owner, 0]);
      const { id: epoch } = engines.namespace(namespace).epoch;
      return { session, keepAliveInterval: toDuration(Math.floor(ttlMs / KEEP_ALIVES)), epoch };
    },

    async assertSession(request, context) {
      return assertSession(engines.namespace(context.namespace), planAssertion(request, maxTtlMs, generationOf(context)));
    },

    async *keepAlive(requests: AsyncIterable<KeepAliveRequest>, { namespace, signal }) {
      const stream = new KeepAliveStream(engines.namespace(namespace));
      streams.add(stream);
      try {
        yield* stream.run(requests, signal);
      } finally {
        streams.delete(stream);
      }
    },

    async closeSession({ sessionId }, { namespace }) {
      if (isId(sessionId)) await engines.namespace(namespace).run<'close'>(['close', sessionId]);
      return {};
    },

    async getSession({ sessionId }, { namespace }) {
      const engine = engines.namespace(namespace);
      const result = isId(sessionId) ? await engine.run<'session'>(['session', sessionId]) : (['gone'] as const);
      if (result[0] === 'gone') throw sessionNotFound(sessionId);
      return { session: toSession(result[1]) };
    },

    async listSessions(request, { namespace }) {
      const limit = checkPageSize(request.pageSize);
      const after = checkPageToken(request.pageToken);
      const [, views, last] = await engines.namespace(namespace).run<'sessions'>(['sessions', after, limit]);
      return { sessions: (Array.isArray(views) ? views : []).map(toSession), nextPageToken: toPageToken(last) };
    },
  };
}

function toSession([sessionId, ttlMs, opened, deadline, owner, lockCount]: SessionView): Session {
  const [name = '', version = '', host = ''] = JSON.parse(owner) as string[];
  return {
    sessionId,
    ttl: toDuration(ttlMs),
    openTime: toTimestamp(opened),
    expireTime: toTimestamp(deadline),
    client: { name, version, host },
    lockCount,
  };
}
