const FIRST_MS = 20;
const LAST_MS = 1_000;

export interface Failures {
  /** Links in a row that came to nothing. */
  readonly count: number;
  /** How many servers there are. While some of them have not been tried there is no reason to wait. */
  readonly servers: number;
  /** What the last one asked to wait, ms. */
  readonly retryDelayMs?: number | undefined;
}

/**
 * How long to wait before the next server is tried, ms: exponentially longer, and by chance between half and all of that,
 * so that not all clients come back at once.
 */
export function backoffMs({ count, servers, retryDelayMs = 0 }: Failures, random: () => number = Math.random): number {
  const rounds = count - servers;
  if (rounds < 0) return 0;
  const ms = Math.max(retryDelayMs, Math.min(LAST_MS, FIRST_MS * 2 ** rounds));
  return ms * (0.5 + random() / 2);
}
