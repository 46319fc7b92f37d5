import type { Connection } from './connection.js';
import { toProtoDuration } from './durations.js';
import { follow } from './follow.js';
import { UnlockNews, type WatchEvent } from './unlock-news.js';

/** The states of the names and then every unlock, through however many connections it takes. */
export async function* watch(connection: Connection, names: string[], until: number, signal?: AbortSignal): AsyncGenerator<WatchEvent> {
  const news = new UnlockNews();
  const responses = follow(connection, {
    until,
    signal,
    open: (link, ended) => link.locks.waitForUnlock({ names, timeout: toTimeout(until) }, { signal: ended }),
  });
  for await (const response of responses) yield* news.of(response);
}

/** What is left until then; undefined for ever. */
export function toTimeout(until: number) {
  return until === Number.POSITIVE_INFINITY ? undefined : toProtoDuration(Math.max(0, until - performance.now()));
}
