import { Crowd, type Placed } from '../crowd.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { AcquireRequest, Owner, PipelineCommand, PipelineRequest, PipelineResponse, PipelineResult } from '../gen/stafett/v1/lock.js';
import type { DirectStream } from '../rpc/direct-streams.js';
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

interface Asked extends Placed {
  readonly lockId: string;
  readonly listener: AcquireListener;
}

/** One pipeline: commands come in, results go out as they are there, all that are there in one message. */
export class Pipeline {
  readonly #options: PipelineOptions;
  #results: PipelineResult[] = [];
  /** Acquires under way, to be abandoned when the stream breaks. */
  readonly #acquires = new Crowd<Asked>();
  readonly #stream: Pick<DirectStream<PipelineRequest, PipelineResponse>, 'open' | 'send'>;
  #inFlight = 0;
  #inputEnded = false;
  #failure: Error | undefined;
  /** May results be sent? Else they gather. */
  #hasRoom = true;
  #sending = false;
  #wake: () => void = () => {};
  #onRead: () => void = () => {};

  constructor(options: PipelineOptions, stream: Pick<DirectStream<PipelineRequest, PipelineResponse>, 'open' | 'send'>) {
    this.#options = options;
    this.#stream = stream;
    const fail = (error: Error) => this.#end(error);
    stream.open((request) => this.#read(request), fail, () => this.#makeRoom()); // biome-ignore format: short
  }

  /** @param input tells its end only. @returns what yields nothing, but ends when the call is over. */
  run(input: AsyncIterable<unknown>, signal: AbortSignal): AsyncIterable<PipelineResponse> {
    const next = async () => {
      await this.#serve(input, signal);
      return { done: true, value: undefined } as const;
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  async #serve(input: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake());
    void this.#awaitEnd(input);
    try {
      while (!signal.aborted) {
        if (this.#results.length === 0 && this.#failure) throw this.#failure;
        if (this.#results.length === 0 && this.#inputEnded && this.#inFlight === 0) return;
        await this.#somethingNew();
      }
    } finally {
      for (const { lockId, listener } of this.#acquires.all()) this.#options.acquires.abandon(lockId, listener);
      this.#onRead();
    }
  }

  /** Carries out what one message asks for. A promise: not to read the next one yet. */
  #read({ commands }: PipelineRequest): Promise<void> | undefined {
    if (commands.length > MESSAGE_MAX) throw invalidField('commands', `${commands.length} commands; at most ${MESSAGE_MAX} are allowed`);
    for (const command of commands) this.#accept(command);
    const { turns } = this.#options;
    return this.#results.length >= UNREAD_MAX ? this.#readOn().then(() => turns.letOthers()) : turns.letOthers();
  }

  /** Who does not read what it asked for may not ask for more: else its answers would pile up here. */
  #readOn(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRead = resolve;
    });
  }

  async #awaitEnd(input: AsyncIterable<unknown>): Promise<void> {
    try {
      for await (const _ of input);
      this.#end();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #end(failure?: Error): void {
    this.#failure ??= failure;
    this.#inputEnded = true;
    this.#wake();
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
    const { engine, metrics, maxTtlMs } = this.#options;
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
        return cancelAcquire(this.#options, command.value, (error) => this.#answer(id, error ? this.#error(error) : CANCELLED));
      default:
        throw invalidField('command', 'is missing, or of a kind that this server does not know');
    }
  }

  #acquire(id: bigint, request: AcquireRequest): void {
    const { maxTtlMs, caller, generation } = this.#options;
    const plan = planAcquire(request, maxTtlMs, caller, generation);
    const listener: AcquireListener = (error, value) => {
      this.#acquires.delete(asked);
      this.#answer(id, error || !value ? this.#error(error) : { $case: 'acquire', value });
    };
    const asked: Asked = { lockId: plan.lockId, listener, place: 0 };
    this.#acquires.add(asked);
    this.#options.acquires.start(plan, listener);
  }

  #answer(id: bigint, result: Result): void {
    this.#inFlight--;
    this.#results.push({ id, result });
    if (this.#sending || !this.#hasRoom) return;
    this.#sending = true;
    void DONE.then(() => this.#send()); // all that one reply of Redis brings goes together
  }

  #makeRoom(): void {
    this.#hasRoom = true;
    this.#send();
  }

  #send(): void {
    this.#sending = false;
    while (this.#hasRoom && this.#results.length > 0) this.#hasRoom = this.#stream.send({ results: this.#take() });
    if (this.#inputEnded) this.#wake();
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

/** What follows it comes after what goes on now: what `queueMicrotask` does, without the context that that keeps for each call. */
const DONE = Promise.resolve();
const RELEASED: Result = { $case: 'release', value: {} };
const CANCELLED: Result = { $case: 'cancel', value: {} };
