import { setTimeout as sleep } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Default: 10,000. */
  readonly timeoutMs?: number;
  /** Default: 10. */
  readonly intervalMs?: number;
}

/**
 * Asks again and again until the answer is truthy (or, for a function without an answer that uses `expect`, until it no
 * longer throws), and returns it.
 * @throws {Error} when the time is over; its cause is what `ask` threw last.
 */
export async function eventually<T>(
  what: string,
  ask: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 10 }: EventuallyOptions = {},
): Promise<Awaited<T>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (true) {
    try {
      const answer = await ask();
      if (answer || answer === undefined) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const why = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}${why}`, { cause: last });
    }
    await sleep(intervalMs);
  }
}
