import { EventEmitter } from 'node:events';
import type { RedisConnection } from '../redis/connection.js';
import type { StafettError } from '../rpc/errors.js';
import { Batcher, type Callback } from './batcher.js';
import type { BatchReply, Command, CommandOf, EngineEvent, EngineEvents, Results, Verb } from './commands.js';
import type { Counts } from './engine-metrics.js';
import type { Epoch } from './epoch.js';
import type { Room } from './room.js';

/** How often what pub/sub may have lost is looked for, ms. */
const RECHECK_MS = 1_000;
/** How often names are looked at that may be forgotten, and a quiet namespace is looked at at all, at the most and the least, ms. */
const SWEEP_MS_MAX = 30_000;
const SWEEP_MS_MIN = 500;
/** A little after the deadline, so that it has passed by the clock of Redis, ms. */
const TICK_MARGIN_MS = 2;

interface Happenings {
  /** Whatever they wait for may have happened unheard. */
  reask: [];
  /** A new epoch: Redis knows nothing of what it knew before. */
  epoch: [];
  /** The session has said again what it holds. */
  asserted: [sid: string];
}

export interface NamespaceEngineOptions {
  readonly namespace: string;
  readonly epoch: Epoch;
  readonly lockRetentionMs: number;
  readonly room: Room;
  send(commands: Command[]): Promise<BatchReply>;
  onStats(namespace: string, reply: BatchReply): void;
  onCounts(namespace: string, counts: Counts): void;
}

/**
 * One namespace, as this server sees it: sends commands to the state machine, hands on what happened to this server's
 * callers, and wakes up when the next session runs out, so that the next in line is served at that moment.
 */
export class NamespaceEngine {
  readonly namespace: string;
  /** What happened to this server's callers. */
  readonly events = new EventEmitter<EngineEvents & Happenings>().setMaxListeners(0);
  readonly epoch: Epoch;
  /** Reasons to look for lost events: somebody here waits for some. */
  readonly interests: (() => boolean)[] = [];
  readonly #options: NamespaceEngineOptions;
  readonly #batcher: Batcher;
  #tick: NodeJS.Timeout | undefined;
  #tickAt = Number.POSITIVE_INFINITY;
  #recheck: NodeJS.Timeout;
  #sweep: NodeJS.Timeout;
  /** When the next session runs out, as the engine told just now, or 0. */
  #nextDeadline = 0;
  #drainedAt = Number.NEGATIVE_INFINITY;
  /** Where it was last, and whether that could be used. */
  #master: RedisConnection | undefined;
  #ready = false;
  /** Nothing is granted now, but soon. */
  #inGrace = false;

  constructor(options: NamespaceEngineOptions) {
    this.namespace = options.namespace;
    this.epoch = options.epoch;
    this.#options = options;
    this.#batcher = new Batcher({
      room: options.room,
      send: options.send,
      onReply: (reply) => this.#onReply(reply),
    });
    this.#recheck = setInterval(() => this.recheck(), RECHECK_MS).unref();
    const sweepMs = Math.min(SWEEP_MS_MAX, Math.max(SWEEP_MS_MIN, options.lockRetentionMs / 2));
    this.#sweep = setInterval(() => this.sweep(), sweepMs * (0.9 + Math.random() / 5)).unref(); // not all servers at once
  }

  /** The result comes before the events that the same step caused. */
  submit<V extends Verb>(command: CommandOf<V>, done: Callback<V>, urgent = false): void {
    this.#batcher.submit(command, done, urgent);
  }

  /** @throws {StafettError} REDIS_UNAVAILABLE */
  run<V extends Verb>(command: CommandOf<V>, urgent = false): Promise<Results[V]> {
    return new Promise((resolve, reject) => {
      this.submit<V>(command, (error, result) => (error ? reject(error) : resolve(result as Results[V])), urgent);
    });
  }

  /** Goes where the namespace is now. */
  follow(): void {
    const { connection } = this.epoch;
    const { ready } = connection;
    if (connection === this.#master && ready === this.#ready) return;
    this.#master = connection;
    this.#ready = ready;
    this.#batcher.setReady(ready);
    if (!ready) return;
    this.events.emit('reask'); // a reply may have been lost, or all that Redis knew
    this.sweep();
  }

  /** Fetches what other servers left for this one; whatever pub/sub has delivered already is known when it comes again. */
  recheck(): void {
    if (this.interests.some((interest) => interest())) this.#drain();
  }

  /** Somebody begins to wait, perhaps for a session that runs out soon, and of which a server without waiters has not heard. */
  expectExpiries(): void {
    if (performance.now() - this.#drainedAt >= RECHECK_MS) this.#drain();
  }

  onNewEpoch(): void {
    this.events.emit('epoch');
  }

  deliver(event: EngineEvent): void {
    const [name, ...args] = event;
    this.events.emit(name, ...(args as EngineEvents[typeof name]));
  }

  sweep(): void {
    this.#drain(); // also tells the next deadline
    this.submit<'sweep'>(['sweep'], (_, result) => {
      if (!result) return;
      const [, , sessions, held, waiting, running, pending] = result;
      this.#options.onCounts(this.namespace, { sessions, held, waiting, running, pending });
      if (result[1] >= 100) this.sweep();
    });
  }

  close(error: StafettError): void {
    clearTimeout(this.#tick);
    clearInterval(this.#recheck);
    clearInterval(this.#sweep);
    this.#batcher.close(error);
  }

  /** Fetches what other servers left for this one. Resolves when that has been told. */
  catchUp(): Promise<void> {
    return new Promise((resolve) => this.#drain(resolve));
  }

  #drain(done: () => void = () => {}): void {
    this.#drainedAt = performance.now();
    this.submit<'drain'>(['drain'], (_, result) => {
      if (!result) return done();
      if (Array.isArray(result[1])) for (const event of result[1]) this.deliver(event);
      this.#nextDeadline = result[2];
      if (result[3] > 0) this.#drain(done);
      else done();
    });
  }

  #onReply(reply: BatchReply): void {
    for (const event of reply.events) this.deliver(event);
    this.#options.onStats(this.namespace, reply);
    if (this.#nextDeadline > 0) this.#wakeAt(this.#nextDeadline, reply.now);
    this.#nextDeadline = 0;
    if (reply.more) this.#drain();
    this.#watchGrace(reply);
    if (reply.soonest > 0) this.#wakeAt(reply.soonest, reply.now);
  }

  /** When the grace period is over, those who were told to wait for a session that was not there yet are asked for again. */
  #watchGrace({ graceUntil, now }: BatchReply): void {
    if (graceUntil > now) this.#wakeAt(graceUntil, now);
    else if (this.#inGrace) this.events.emit('reask');
    this.#inGrace = graceUntil > now;
  }

  /** One timer for all sessions. A deadline that has moved meanwhile costs one look. Both are Redis' time, ms. */
  #wakeAt(deadline: number, now: number): void {
    const ms = Math.max(0, deadline - now) + TICK_MARGIN_MS;
    const at = performance.now() + ms;
    if (at >= this.#tickAt) return;
    clearTimeout(this.#tick);
    this.#tickAt = at;
    this.#tick = setTimeout(() => {
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.#drain();
    }, ms).unref();
  }
}
