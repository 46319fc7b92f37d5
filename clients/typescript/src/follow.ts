import { backoffMs } from './backoff.js';
import type { Connection } from './connection.js';
import { isUnavailable, StafettError } from './errors.js';
import type { Link } from './link.js';
import { LinkedSignal } from './signals.js';

export interface Following<T> {
  /** When it is over, on the monotonic clock. */
  readonly until: number;
  readonly signal?: AbortSignal | undefined;
  /** Opens the stream, which begins with what has become of things meanwhile. */
  open(link: Link, signal: AbortSignal): AsyncIterable<T>;
}

/** What a server streams, through however many connections it takes, until it ends the stream with OK. An abort of the signal throws its reason. */
export async function* follow<T>(connection: Connection, { until, signal, open }: Following<T>): AsyncGenerator<T> {
  for (let failures = 0; performance.now() < until; failures++) {
    const link = await nextLink(connection, until, signal);
    if (!link) return;
    const linked = new LinkedSignal(link.broken, signal);
    try {
      for await (const response of open(link, linked.signal)) {
        failures = 0;
        yield response;
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

/** @returns undefined when there is none before it is over. */
async function nextLink(connection: Connection, until: number, signal: AbortSignal | undefined): Promise<Link | undefined> {
  try {
    return await connection.link(until, signal);
  } catch (error) {
    if (error instanceof StafettError && error.reason === 'CONNECTION_FAILED' && performance.now() >= until) return undefined;
    throw error;
  }
}
