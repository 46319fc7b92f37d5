import { redisUnavailable, type StafettError } from '../rpc/errors.js';
import type { BatchReply, Command, CommandOf, Results, Verb } from './commands.js';
import { bytesOf, countOf, type Room } from './room.js';

/** Commands in one script call, at the most: keeps a call below a few milliseconds of Redis' time. */
const BATCH_MAX = 128;
/** Bytes of publications in one script call, at the most, unless the first of them alone has more. */
const BATCH_BYTES_MAX = 262_144;
/** Script calls under way at once: while Redis works on one, the next is on its way. */
const IN_FLIGHT_MAX = 2;
/** How long to hold back after a Redis that is there refused a batch, ms. */
const PAUSE_MS = 50;
/** How long commands wait for a Redis that is away before they are refused, ms. */
const PATIENCE_MS = 5_000;

export type Callback<V extends Verb> = (error: Error | undefined, result?: Results[V]) => void;

interface Pending {
  readonly command: Command;
  readonly done: (error: Error | undefined, result?: unknown) => void;
  /** As it was let in. */
  readonly bytes: number;
  /** How many commands it stands for. */
  readonly count: number;
}

export interface BatcherOptions {
  /** Of all batchers of the server. */
  readonly room: Room;
  /** Runs one batch. Rejects with REDIS_UNAVAILABLE when it may or may not have run. */
  send(commands: Command[]): Promise<BatchReply>;
  /** Told after the results of the batch were handed out. */
  onReply(reply: BatchReply): void;
}

/**
 * Puts commands together into batches: sends at once while little is under way, and gathers only while Redis is at work
 * anyway. Urgent commands (keepalives) go first. Every command may be sent twice, after a broken connection; the engine
 * knows a repetition when it sees one.
 */
export class Batcher {
  readonly #options: BatcherOptions;
  /** What is to be asked again, in its old order and before everything else. */
  #again: Pending[] = [];
  #urgent: Pending[] = [];
  #normal: Pending[] = [];
  #inFlight = 0;
  #scheduled = false;
  #down = false;
  #paused = false;
  #givenUp = false;
  #patience: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#again.length + this.#urgent.length + this.#normal.length;
  }

  submit<V extends Verb>(command: CommandOf<V>, done: Callback<V>, urgent = false): void {
    const [bytes, count] = [bytesOf(command), countOf(command)];
    if (this.#givenUp || !this.#options.room.enter(bytes, urgent, count)) {
      done(redisUnavailable());
      return;
    }
    (urgent ? this.#urgent : this.#normal).push({ command, done: done as Pending['done'], bytes, count });
    this.#schedule();
  }

  /** Tells whether commands can be sent. While they cannot they wait, for `PATIENCE_MS`. */
  setReady(ready: boolean): void {
    this.#down = !ready;
    if (ready) {
      this.#regainPatience();
      this.#givenUp = false;
      this.#schedule();
    } else {
      this.#losePatience();
    }
  }

  /** Refuses all that waits, and all that comes. */
  close(error: StafettError): void {
    clearTimeout(this.#patience);
    this.#givenUp = true;
    this.#refuseAll(error);
  }

  /** While the connection is gone nothing more is taken in; a Redis that refuses to work is asked again by whoever comes. */
  #losePatience(): void {
    this.#patience ??= setTimeout(() => {
      this.#patience = undefined;
      this.#givenUp = this.#down;
      this.#refuseAll(redisUnavailable());
    }, PATIENCE_MS).unref();
  }

  #refuseAll(error: StafettError): void {
    const refused = [...this.#again, ...this.#urgent, ...this.#normal];
    this.#again = [];
    this.#urgent = [];
    this.#normal = [];
    for (const pending of refused) this.#finish(pending, error);
  }

  #finish({ done, bytes, count }: Pending, error: Error | undefined, result?: unknown): void {
    this.#options.room.leave(bytes, count);
    done(error, result);
  }

  #regainPatience(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
  }

  #schedule(): void {
    if (this.#scheduled || this.#down || this.#paused || this.#inFlight >= IN_FLIGHT_MAX) return;
    this.#scheduled = true;
    void DONE.then(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#down && !this.#paused && this.#inFlight < IN_FLIGHT_MAX && this.size > 0) void this.#sendBatch(this.#take());
  }

  #take(): Pending[] {
    if (this.#again.length > 0) return this.#again.splice(0, fitting(this.#again, BATCH_MAX));
    const batch = this.#urgent.splice(0, BATCH_MAX);
    return batch.concat(this.#normal.splice(0, fitting(this.#normal, BATCH_MAX - batch.length)));
  }

  async #sendBatch(batch: Pending[]): Promise<void> {
    this.#inFlight++;
    try {
      const reply = await this.#options.send(batch.map((pending) => pending.command));
      if (!this.#down) this.#regainPatience();
      batch.forEach((pending, i) => this.#finish(pending, undefined, reply.results[i]));
      this.#options.onReply(reply);
    } catch (error) {
      this.#failed(batch, error as Error);
    } finally {
      this.#inFlight--;
      this.#flush();
    }
  }

  #failed(batch: Pending[], error: Error): void {
    if (error.name !== 'StafettError' || this.#givenUp) {
      for (const pending of batch) this.#finish(pending, error);
      return;
    }
    const [again, not] = [batch.filter(isRepeatable), batch.filter((pending) => !isRepeatable(pending))];
    this.#again.push(...again);
    for (const pending of not) this.#finish(pending, error);
    this.#losePatience();
    this.#pause();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    setTimeout(() => {
      this.#paused = false;
      this.#flush();
    }, PAUSE_MS).unref();
  }
}

/** What follows it comes after what goes on now: what `queueMicrotask` does, without the context that that keeps for each call. */
const DONE = Promise.resolve();

/** How many of the first ones fit where there is room for so many commands. One always does if there is any room, or what is large would wait for ever. */
function fitting(pending: readonly Pending[], max: number): number {
  let [bytes, commands] = [0, 0];
  for (let i = 0; i < pending.length; i++) {
    const { command, count } = pending[i] as Pending;
    commands += count;
    if (command[0] === 'publish') for (const [, data] of command[1]) bytes += data.length;
    if (commands > max || bytes > BATCH_BYTES_MAX) return i === 0 && max > 0 ? 1 : i;
  }
  return pending.length;
}

/** A forced release without a token would hit the next holder if it were sent twice; a publication would be two. */
function isRepeatable({ command }: Pending): boolean {
  return (
    !(command[0] === 'force' && command[2] === 0) &&
    !(command[0] === 'publish' && command[1].some(([, , , idempotencyKey]) => idempotencyKey === ''))
  );
}
