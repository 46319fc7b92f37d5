import { toProtoDuration } from './durations.js';
import { lockAssertedByAnother, StafettError, sessionLost } from './errors.js';
import type { Held, SessionLife } from './life.js';
import type { Link } from './link.js';
import type { Settings } from './options.js';

/** Grants in one call; the servers' own limit. */
const GRANTS_MAX = 1_000;

/**
 * Says again, after Redis lost its data, what a session is and holds. Until it resolves nothing may be released, or it would be
 * asserted after it was given back.
 * @throws when this server cannot be asked; not when the session or some of its grants are lost, of which they are told.
 */
export async function assertSession(link: Link, life: SessionLife, settings: Settings): Promise<void> {
  while (!life.lost) {
    life.epoch = ''; // a grant that arrives from here on is not among those that are told
    const grants = life.grants.all();
    const epochs = new Set<string>();
    for (let i = 0; i === 0 || i < grants.length; i += GRANTS_MAX) {
      epochs.add(await assertSome(link, life, settings, grants.slice(i, i + GRANTS_MAX), i + GRANTS_MAX < grants.length));
      if (life.lost) return;
    }
    const [epoch = ''] = epochs;
    life.epoch = epoch;
    if (epochs.size === 1) return;
  }
}

/** @returns the epoch in which they are asserted. */
async function assertSome(link: Link, life: SessionLife, settings: Settings, grants: Held[], more: boolean): Promise<string> {
  const sentAt = performance.now();
  const request = {
    sessionId: life.id,
    ttl: toProtoDuration(life.ttlMs),
    client: settings.client,
    grants: grants.map((grant) => grant.toAssert()),
    highestFencingToken: life.highestToken,
    more,
  };
  try {
    const { epoch, lostLockIds } = await link.sessions.assertSession(request, { signal: link.broken });
    life.confirm(sentAt);
    const lost = new Set(lostLockIds);
    for (const grant of grants) if (lost.has(grant.lockId)) grant.lose(lockAssertedByAnother(grant.lockId));
    return epoch;
  } catch (cause) {
    const error = StafettError.from(cause);
    if (error.reason !== 'SESSION_NOT_FOUND') throw error;
    life.lose(sessionLost('Redis lost its data, and the servers did not hear of the session in time'));
    return '';
  }
}
