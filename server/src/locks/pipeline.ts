import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { AcquireRequest, Owner, PipelineCommand, PipelineRequest, PipelineResponse, PipelineResult } from '../gen/stafett/v1/lock.js';
import { invalidField, type StafettError, streamLimit } from '../rpc/errors.js';
import { toDuration } from '../rpc/fields.js';
import type { Turns } from '../rpc/turns.js';
import { planAcquire } from './acquire-plan.js';
import type { AcquireListener, Acquires } from './acquires.js';
import { cancelAcquire, extend, release } from './lock-commands.js';
import type { LockMetrics } from './lock-metrics.js';

/** Commands in one request, results in one response, at the most. */
const MESSAGE_MAX = 1_000;
/** Results that wait for a reader; while there are more, nothing is read from it. */
const UNREAD_MAX = 10_000;

export interface PipelineOptions {
  readonly engine: NamespaceEngine;
  readonly acquires: Acquires;
  readonly metrics: LockMetrics;
  /** Of all pipelines. */
  readonly turns: Turns;
  readonly maxTtlMs: number;
  readonly maxInFlight: number;
  /** Who is at the other end, as far as the connection tells. */
  readonly caller: Owner;
  /** Which of the client's connections it is, or 0 if it does not say. */
  readonly generation: number;
  /** For what is a defect of ours: logs it and says so to the caller. */
  toStafettError(error: Error): StafettError;
}

type Result = PipelineResult['result'];

/** One pipeline: commands come in, results go out as they are there, all that are there in one message. */
export class Pipeline {
  readonly #options: PipelineOptions;
  #results: PipelineResult[] = [];
  /** Acquires under way, to be abandoned when the stream breaks. */
  readonly #acquires = new Map<AcquireListener, string>();
  #inFlight = 0;
  #inputEnded = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  #onRead: () => void = () => {};

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  async *run(requests: AsyncIterable<PipelineRequest>, signal: AbortSignal): AsyncIterable<PipelineResponse> {
    signal.addEventListener('abort', () => this.#wake());
    void this.#read(requests);
    try {
      while (!signal.aborted) {
        if (this.#results.length > 0) yield { results: this.#take() };
        else if (this.#failure) throw this.#failure;
        else if (this.#inputEnded && this.#inFlight === 0) return;
        else await this.#somethingNew();
      }
    } finally {
      for (const [listener, lockId] of this.#acquires) this.#options.acquires.abandon(lockId, listener);
      this.#acquires.clear();
      this.#onRead();
    }
  }

  async #read(requests: AsyncIterable<PipelineRequest>): Promise<void> {
    try {
      for await (const { commands } of requests) {
        if (commands.length > MESSAGE_MAX)
          throw invalidField('commands', `${commands.length} commands; at most ${MESSAGE_MAX} are allowed`);
        for (const command of commands) this.#accept(command);
        if (this.#results.length >= UNREAD_MAX) await this.#readOn();
        await this.#options.turns.letOthers();
      }
    } catch (error) {
      this.#failure = error as Error;
    }
    this.#inputEnded = true;
    this.#wake();
  }

  /** Who does not read what it asked for may not ask for more: else its answers would pile up here. */
  #readOn(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRead = resolve;
    });
  }

  #accept(item: PipelineCommand): void {
    const { id, command } = item;
    this.#inFlight++;
    try {
      if (id === 0n) throw invalidField('id', 'must be above 0');
      if (this.#inFlight > this.#options.maxInFlight)
        throw streamLimit(`more than ${this.#options.maxInFlight} commands in flight on one stream`);
      this.#carryOut(id, command);
    } catch (error) {
      this.#answer(id, this.#error(error as Error));
    }
  }

  #carryOut(id: bigint, command: PipelineCommand['command']): void {
    const { engine, metrics, maxTtlMs, generation } = this.#options;
    switch (command?.$case) {
      case 'acquire':
        return this.#acquire(id, command.value);
      case 'release':
        return release(engine, metrics, command.value, (error) => this.#answer(id, error ? this.#error(error) : RELEASED));
      case 'extend':
        return extend(engine, maxTtlMs, command.value, (error, value) => {
          this.#answer(id, error || !value ? this.#error(error) : { $case: 'extend', value });
        });
      case 'cancel':
        return cancelAcquire(engine, command.value, (error) => this.#answer(id, error ? this.#error(error) : CANCELLED), generation);
      default:
        throw invalidField('command', 'is missing, or of a kind that this server does not know');
    }
  }

  #acquire(id: bigint, request: AcquireRequest): void {
    const { maxTtlMs, caller, generation } = this.#options;
    const plan = planAcquire(request, maxTtlMs, caller, generation);
    const listener: AcquireListener = (error, value) => {
      this.#acquires.delete(listener);
      this.#answer(id, error || !value ? this.#error(error) : { $case: 'acquire', value });
    };
    this.#acquires.set(listener, plan.lockId);
    this.#options.acquires.start(plan, listener);
  }

  #answer(id: bigint, result: Result): void {
    this.#inFlight--;
    this.#results.push({ id, result });
    if (this.#results.length === 1) this.#wake();
  }

  #take(): PipelineResult[] {
    const results = this.#results;
    if (results.length > MESSAGE_MAX) this.#results = results.splice(MESSAGE_MAX);
    else this.#results = [];
    if (this.#results.length < UNREAD_MAX) this.#onRead();
    return results;
  }

  #somethingNew(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #error(cause: Error | undefined): Result {
    const error = this.#options.toStafettError(cause ?? new Error('no result'));
    const { status: code, reason, message, metadata, retryDelayMs } = error;
    const retryDelay = retryDelayMs === undefined ? undefined : toDuration(retryDelayMs);
    return { $case: 'error', value: { code, reason: reason ?? ErrorReason.INTERNAL, message, metadata, retryDelay } };
  }
}

const RELEASED: Result = { $case: 'release', value: {} };
const CANCELLED: Result = { $case: 'cancel', value: {} };
