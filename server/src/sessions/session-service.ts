import { randomBytes } from 'node:crypto';
import type { SessionView } from '../engine/commands.js';
import type { Engine } from '../engine/engine.js';
import type { ClientInfo, KeepAliveRequest, OpenSessionRequest, Session, SessionServiceImplementation } from '../gen/stafett/v1/session.js';
import { checkDuration, checkPageSize, checkPageToken, checkText, isId, toDuration, toPageToken, toTimestamp } from '../rpc/fields.js';
import { KeepAliveStream } from './keep-alives.js';
import { sessionNotFound, tooManySessions } from './refusals.js';

const TTL_MS_MIN = 1_000;
const TTL_MS_DEFAULT = 15_000;
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
      const [ttlMs, client] = checkOpen(request, maxTtlMs);
      const sid = randomBytes(12).toString('base64url');
      const owner = JSON.stringify([client.name, client.version, client.host]);
      const result = await engines.namespace(namespace).run<'open'>(['open', sid, ttlMs, owner]);
      if (result[0] === 'too_many_sessions') throw tooManySessions();
      const session = toSession([sid, ttlMs, result[1], result[2], owner, 0]);
      return { session, keepAliveInterval: toDuration(Math.floor(ttlMs / KEEP_ALIVES)) };
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

function checkOpen({ ttl, client }: OpenSessionRequest, maxTtlMs: number): [number, ClientInfo] {
  const ttlMs = ttl ? checkDuration('ttl', ttl, TTL_MS_MIN, maxTtlMs) : Math.min(TTL_MS_DEFAULT, maxTtlMs);
  const info = client ?? { name: '', version: '', host: '' };
  checkText('client.name', info.name);
  checkText('client.version', info.version);
  checkText('client.host', info.host);
  return [ttlMs, info];
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
