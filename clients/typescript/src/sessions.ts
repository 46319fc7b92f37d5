import { toProtoDuration } from './durations.js';
import type { StafettError } from './errors.js';
import { KeepAlive } from './keep-alive.js';
import { SessionLife } from './life.js';
import type { Link } from './link.js';
import type { Settings } from './options.js';

/** How long one server may take to open a session or to confirm one; the latter no longer than a keepalive may. */
const ESTABLISH_MS = 5_000;
const PER_TTL = 3;

/** Opens a session over a link. The link is broken if that takes too long. */
export async function openSession(
  link: Link,
  { client, ttlMs, safetyMarginMs }: Settings,
  onLost: (life: SessionLife, reason: StafettError) => void,
): Promise<SessionLife> {
  return within(ESTABLISH_MS, link, async () => {
    const sentAt = performance.now();
    const { session, epoch } = await link.sessions.openSession({ client, ttl: toProtoDuration(ttlMs) }, { signal: link.broken });
    if (!session) throw new Error('the server opened no session');
    return new SessionLife({ id: session.sessionId, ttlMs, safetyMarginMs, sentAt, epoch, onLost });
  });
}

export interface SessionEvents {
  onRevoked(life: SessionLife, lockIds: readonly string[]): void;
  /** Redis lost its data, and the session with it. Resolves when it is there again. */
  onMustAssert(life: SessionLife): Promise<void>;
  /** The server is about to stop. */
  onMoving(): void;
}

/** Begins to keep the session alive over the link. Resolves with the first confirmation. */
export function confirm(link: Link, life: SessionLife, { onRevoked, onMustAssert, onMoving }: SessionEvents): Promise<void> {
  return within(Math.min(ESTABLISH_MS, life.ttlMs / PER_TTL), link, () => {
    return new Promise((resolve, reject) => {
      link.broken.addEventListener('abort', () => reject(link.broken.reason), { once: true });
      if (link.broken.aborted) return reject(link.broken.reason);
      new KeepAlive(link, life, {
        onConfirmed: resolve,
        onRevoked: (lockIds) => onRevoked(life, lockIds),
        onMustAssert: () => void onMustAssert(life).then(resolve, (error) => link.break(error)),
        onMoving,
      }).start();
    });
  });
}

async function within<T>(ms: number, link: Link, action: () => Promise<T>): Promise<T> {
  const timeout = setTimeout(() => link.break(new Error(`${link.address} did not answer within ${ms} ms`)), ms);
  try {
    return await action();
  } finally {
    clearTimeout(timeout);
  }
}
