import type { RedisConnection } from '../redis/connection.js';
import type { Masters } from '../redis/masters.js';
import { TOLERANCE_MS } from '../redis/redis-clock.js';

/** How often to look at the clocks, ms: a clock that is wrong by 5 % is 50 ms further by then. */
const LOOK_MS = 1_000;

/**
 * Follows the clocks of Redis' hosts while nobody asks anything: one that runs fast or slow would look, after a long pause, as one that was
 * set. One that was set is left alone, for the next call to find.
 */
export class ClockWatch {
  readonly #timer: NodeJS.Timeout;

  constructor(masters: Masters) {
    this.#timer = setInterval(() => {
      for (const connection of masters.all) if (connection.ready) void follow(connection).catch(() => {}); // what is gone is told elsewhere
    }, LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

async function follow(connection: RedisConnection): Promise<void> {
  const { run, clock } = connection;
  const sentAt = performance.now();
  const now = await connection.time();
  if (connection.run === run) clock.follow(now, sentAt, performance.now(), TOLERANCE_MS);
}
