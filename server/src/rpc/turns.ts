import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long one turn of the event loop may be kept busy by those who share this, ms. */
const BUSY_MS_MAX = 5;

/**
 * For those who read streams: what has arrived already can be read without the event loop ever turning, and meanwhile nobody
 * else is heard, keepalives among them.
 */
export class Turns {
  #since = 0;

  /** To be awaited after each message, if there is something to await. Lets the others have their turn, if this one takes long already. */
  letOthers(): Promise<void> | undefined {
    if (performance.now() - this.#since < BUSY_MS_MAX) return undefined;
    return nextTurn().then(() => {
      this.#since = performance.now();
    });
  }
}
