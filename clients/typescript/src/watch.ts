import { backoffMs } from './backoff.js';
import type { Connection } from './connection.js';
import { toProtoDuration } from './durations.js';
import { isUnavailable, StafettError } from './errors.js';
import type { WaitForUnlockRequest } from './gen/stafett/v1/lock.js';
import type { Link } from './link.js';
import { LinkedSignal } from './signals.js';
import { UnlockNews, type WatchEvent } from './unlock-news.js';

/** The states of the names and then every unlock, through however many connections it takes. */
export async function* watch(connection: Connection, names: string[], until: number, signal?: AbortSignal): AsyncGenerator<WatchEvent> {
  const news = new UnlockNews();
  for (let failures = 0; performance.now() < until; failures++) {
    const link = await nextLink(connection, until, signal);
    if (!link) return;
    const linked = new LinkedSignal(link.broken, signal);
    try {
      for await (const response of link.locks.waitForUnlock(toRequest(names, until), { signal: linked.signal })) {
        failures = 0;
        yield* news.of(response);
      }
      return;
    } catch (cause) {
      signal?.throwIfAborted();
      if (!link.broken.aborted && !isUnavailable(cause)) throw StafettError.from(cause);
      const { retryDelayMs } = StafettError.from(cause);
      if (!link.broken.aborted) await connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs }), signal);
    } finally {
      linked.unlink();
    }
  }
}

/** @returns undefined when there is none before the watch is over. */
async function nextLink(connection: Connection, until: number, signal: AbortSignal | undefined): Promise<Link | undefined> {
  try {
    return await connection.link(until, signal);
  } catch (error) {
    if (error instanceof StafettError && error.reason === 'CONNECTION_FAILED' && performance.now() >= until) return undefined;
    throw error;
  }
}

function toRequest(names: string[], until: number): WaitForUnlockRequest {
  if (until === Number.POSITIVE_INFINITY) return { names, timeout: undefined };
  return { names, timeout: toProtoDuration(Math.max(0, until - performance.now())) };
}
