import { Crowd, type Placed } from '../crowd.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type {
  AcquireRequest,
  AcquireRun as AcquireRunRequest,
  DoneRun,
  GrantRun,
  Owner,
  PipelineCommand,
  PipelineRequest,
  PipelineResponse,
  PipelineResult,
  ReleaseRun as ReleaseRunRequest,
} from '../gen/stafett/v1/lock.js';
import type { DirectStream } from '../rpc/direct-streams.js';
import { invalidField, type StafettError, streamLimit } from '../rpc/errors.js';
import { isId, toDuration, toTimestamp } from '../rpc/fields.js';
import type { Turns } from '../rpc/turns.js';
import { planAcquire } from './acquire-plan.js';
import type { AcquireRun, RunListener } from './acquire-runs.js';
import type { Acquires } from './acquires.js';
import { cancelAcquire, extend, release, releaseRun } from './lock-commands.js';
import type { LockMetrics } from './lock-metrics.js';
import type { AcquireListener } from './pending-acquire.js';
import { acquireAlone, checkAcquireRun, checkReleaseRun, lockIdOf, planAcquireRun, type RunPlan, releaseAlone } from './runs.js';

/** Commands in one request, results in one response that are not of runs, at the most. */
const MESSAGE_MAX = 1_000;
/** Of a command. */
const ID_MAX = 2n ** 64n - 1n;
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

interface AskedRun extends Placed {
  run: AcquireRun | undefined;
}

/** One pipeline: commands come in, results go out as they are there, all that are there in one message. */
export class Pipeline {
  readonly #options: PipelineOptions;
  #results: PipelineResult[] = [];
  #granted: GrantRun[] = [];
  #released: DoneRun[] = [];
  /** Results of all kinds that are not sent. */
  #unsent = 0;
  /** Acquires under way, to be abandoned when the stream breaks. */
  readonly #acquires = new Crowd<Asked>();
  readonly #runs = new Crowd<AskedRun>();
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
        if (this.#unsent === 0 && this.#failure) throw this.#failure;
        if (this.#unsent === 0 && this.#inputEnded && this.#inFlight === 0) return;
        await this.#somethingNew();
      }
    } finally {
      for (const { run } of this.#runs.all()) if (run) this.#options.acquires.abandonRun(run);
      for (const { lockId, listener } of this.#acquires.all()) this.#options.acquires.abandon(lockId, listener);
      this.#onRead();
    }
  }

  /** Carries out what one message asks for. A promise: not to read the next one yet. */
  #read({ commands }: PipelineRequest): Promise<void> | undefined {
    let count = 0;
    for (const { id, command } of commands) {
      const own = countOf(command);
      if (own > 1 && id > ID_MAX - BigInt(own)) throw invalidField('id', `${id} leaves too few ids for a run of ${own} commands`);
      count += own;
    }
    if (count > MESSAGE_MAX) throw invalidField('commands', `${count} commands; at most ${MESSAGE_MAX} are allowed`);
    for (const command of commands) this.#accept(command);
    const { turns } = this.#options;
    return this.#unsent >= UNREAD_MAX ? this.#readOn().then(() => turns.letOthers()) : turns.letOthers();
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
    const count = countOf(command);
    this.#inFlight += count;
    try {
      if (id === 0n) throw invalidField('id', 'must be above 0');
      if (this.#inFlight <= this.#options.maxInFlight) return this.#carryOut(id, command);
      if (count === 1) throw streamLimit(`more than ${this.#options.maxInFlight} commands in flight on one stream`);
      this.#acceptEach(id, command, count);
    } catch (error) {
      const result = this.#error(error as Error);
      for (let i = 0; i < count; i++) this.#answer(id + BigInt(i), result);
    }
  }

  /** The commands of a run one by one: each may be refused for a reason of its own. */
  #acceptEach(id: bigint, command: PipelineCommand['command'], count: number): void {
    this.#inFlight -= count;
    for (let i = 0; i < count; i++) this.#accept({ id: id + BigInt(i), command: alone(command, i) });
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
      case 'acquireRun':
        return this.#acquireRun(id, command.value);
      case 'releaseRun':
        return this.#releaseRun(id, command.value);
      default:
        throw invalidField('command', 'is missing, or of a kind that this server does not know');
    }
  }

  #acquire(id: bigint, request: AcquireRequest): void {
    const { maxTtlMs, caller, generation } = this.#options;
    const plan = planAcquire(request, maxTtlMs, caller, generation);
    this.#options.acquires.start(plan, this.#listen(id, plan.lockId));
  }

  #listen(id: bigint, lockId: string): AcquireListener {
    const listener: AcquireListener = (error, value) => {
      this.#acquires.delete(asked);
      this.#answer(id, error || !value ? this.#error(error) : { $case: 'acquire', value });
    };
    const asked: Asked = { lockId, listener, place: 0 };
    this.#acquires.add(asked);
    return listener;
  }

  #acquireRun(id: bigint, request: AcquireRunRequest): void {
    const count = checkAcquireRun(request);
    let plans: RunPlan[];
    try {
      plans = planAcquireRun(request, this.#options.generation);
    } catch {
      return this.#acceptEach(id, { $case: 'acquireRun', value: request }, count);
    }
    for (const plan of plans) if (!this.#startRun(id + BigInt(plan.from), plan)) this.#startEach(id, request, plan);
  }

  /** Is there room for all of them? */
  #startRun(id: bigint, plan: RunPlan): boolean {
    const { acquires, engine } = this.#options;
    const asked: AskedRun = { run: undefined, place: 0 };
    const listener: RunListener = {
      answered: (offsets, tokens, since, deadline) => {
        this.#runs.delete(asked);
        if (offsets.length === 0) return;
        const [firstToken = 0] = tokens;
        this.#granted.push({
          id,
          offsets: offsets as number[],
          firstFencingToken: BigInt(firstToken),
          tokenOffsets: tokens.map((token) => token - firstToken),
          acquireTime: toTimestamp(since),
          expireTime: toTimestamp(deadline),
          epoch: engine.epoch.id,
        });
        this.#answered(offsets.length);
      },
      alone: (offset) => this.#listen(id + BigInt(offset), lockIdOf(plan, offset)),
    };
    this.#runs.add(asked);
    asked.run = acquires.startRun(plan, listener);
    if (!asked.run) this.#runs.delete(asked);
    return asked.run !== undefined;
  }

  #startEach(id: bigint, request: AcquireRunRequest, { from, names }: RunPlan): void {
    this.#inFlight -= names.length;
    for (let i = from; i < from + names.length; i++) {
      this.#accept({ id: id + BigInt(i), command: { $case: 'acquire', value: acquireAlone(request, i) } });
    }
  }

  #releaseRun(id: bigint, request: ReleaseRunRequest): void {
    const count = checkReleaseRun(request);
    if (!isId(request.sessionId)) return this.#acceptEach(id, { $case: 'releaseRun', value: request }, count);
    const { engine, metrics } = this.#options;
    releaseRun(engine, metrics, request, {
      done: (from, offsets) => {
        if (offsets.length === 0) return;
        this.#released.push({ id: id + BigInt(from), offsets });
        this.#answered(offsets.length);
      },
      failed: (offset, error) => this.#answer(id + BigInt(offset), this.#error(error)),
    });
  }

  #answer(id: bigint, result: Result): void {
    this.#results.push({ id, result });
    this.#answered(1);
  }

  #answered(count: number): void {
    this.#inFlight -= count;
    this.#unsent += count;
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
    while (this.#hasRoom && this.#unsent > 0) this.#hasRoom = this.#stream.send(this.#take());
    if (this.#inputEnded) this.#wake();
  }

  #take(): PipelineResponse {
    const [results, granted, released] = [this.#results, this.#granted, this.#released];
    if (results.length > MESSAGE_MAX) this.#results = results.splice(MESSAGE_MAX);
    else this.#results = [];
    this.#granted = [];
    this.#released = [];
    this.#unsent = this.#results.length;
    if (this.#unsent < UNREAD_MAX) this.#onRead();
    return { results, granted, released };
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

function countOf(command: PipelineCommand['command']): number {
  if (command?.$case === 'acquireRun') return Math.max(1, command.value.names.length);
  return command?.$case === 'releaseRun' ? Math.max(1, command.value.offsets.length) : 1;
}

function alone(command: PipelineCommand['command'], i: number): PipelineCommand['command'] {
  if (command?.$case === 'acquireRun') return { $case: 'acquire', value: acquireAlone(command.value, i) };
  if (command?.$case === 'releaseRun') return { $case: 'release', value: releaseAlone(command.value, i) };
  return command;
}
