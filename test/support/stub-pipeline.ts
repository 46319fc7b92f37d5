import type {
  AcquireRun,
  DeepPartial,
  DoneRun,
  Grant,
  GrantRun,
  LockServiceClient,
  PipelineCommand,
  PipelineRequest,
  PipelineResult,
} from '../../server/src/gen/stafett/v1/lock.js';
import { type AcquireOptions, acquireRequest, granted, type Outcome, quiet, toOutcome } from './stub-acquire.js';
import { fromPipeline } from './stub-error.js';
import { StubOutbox } from './stub-outbox.js';

type Command = NonNullable<DeepPartial<PipelineCommand>['command']>;
type Result = NonNullable<PipelineResult['result']>;

/** Commands in one message. */
const COMMANDS_MAX = 1_000;

interface Pending {
  /** Of an acquire of a run: what its grant is if nothing else is said. */
  readonly grant?: Pick<Grant, 'lockId' | 'names'>;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** A pipeline: a promise for each command. Commands of one turn of the event loop travel in one message, in their order. */
export class StubPipeline {
  /** How the stream ended: undefined for OK. */
  readonly ended: Promise<unknown>;
  readonly #outbox = new StubOutbox<DeepPartial<PipelineRequest>>();
  readonly #pending = new Map<bigint, Pending>();
  readonly #abort = new AbortController();
  #batch: DeepPartial<PipelineCommand>[] = [];
  #lastId = 0n;

  constructor(locks: LockServiceClient) {
    this.ended = this.#read(locks);
  }

  /** Closes our side; what is pending is still answered. */
  end(): void {
    this.#flush();
    this.#outbox.end();
  }

  /** Cuts the stream off. What is pending here fails. */
  break(): void {
    this.#abort.abort();
  }

  /** Sends one command, under an id of its own unless another is given. */
  command(command: Command | undefined, id = ++this.#lastId): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      if (this.#batch.push({ id, command }) === 1) queueMicrotask(() => this.#flush());
    });
  }

  /** Sends whatever message. */
  sendRaw(request: DeepPartial<PipelineRequest>): void {
    this.#outbox.push(request);
  }

  acquire(names: string | readonly string[], options: AcquireOptions = {}): Promise<Outcome> {
    const result = this.command({ $case: 'acquire', value: acquireRequest(names, options) });
    return quiet(result.then((value) => toOutcome(resultValue(value, 'acquire'))));
  }

  lock(names: string | readonly string[], options: AcquireOptions = {}): Promise<Grant> {
    return quiet(this.acquire(names, options).then(granted));
  }

  /** Acquires in one run; the request ids are numbers from `first` on. */
  acquireRun(names: readonly string[], first: number, options: AcquireOptions = {}): Promise<Outcome>[] {
    const { sessionId, waitTimeout, owner, purpose } = acquireRequest(names, options);
    const run: DeepPartial<AcquireRun> = { names: [...names], sessionId, firstRequest: BigInt(first), waitTimeout, owner, purpose };
    const grants = names.map((name, i) => ({ lockId: `${sessionId}.${first + i}`, names: [name] }));
    const results = this.#run({ $case: 'acquireRun', value: run }, grants);
    return results.map((result) => quiet(result.then((value) => toOutcome(resultValue(value, 'acquire')))));
  }

  /** Releases in one run. */
  releaseRun(session: { readonly id: string }, first: number, offsets: readonly number[]): Promise<void>[] {
    const value = { sessionId: session.id, firstRequest: BigInt(first), offsets: [...offsets] };
    const results = this.#run({ $case: 'releaseRun', value }, offsets);
    return results.map((result) => quiet(result.then((each) => void resultValue(each, 'release'))));
  }

  #run(command: Command, each: readonly (Pending['grant'] | number)[]): Promise<Result>[] {
    const id = this.#lastId + 1n;
    this.#lastId += BigInt(each.length);
    if (this.#batch.push({ id, command }) === 1) queueMicrotask(() => this.#flush());
    return each.map((grant, i) => {
      const pending = new Promise<Result>((resolve, reject) => {
        this.#pending.set(id + BigInt(i), { resolve, reject, ...(typeof grant === 'object' && { grant }) });
      });
      return quiet(pending);
    });
  }

  async release({ lockId }: Pick<Grant, 'lockId'>): Promise<void> {
    resultValue(await this.command({ $case: 'release', value: { lockId } }), 'release');
  }

  async extend({ lockId }: Pick<Grant, 'lockId'>): Promise<Grant> {
    const { grant } = resultValue(await this.command({ $case: 'extend', value: { lockId } }), 'extend');
    if (!grant) throw new Error('an ExtendResponse without a grant');
    return grant;
  }

  async cancel(requestId: string, session?: { readonly id: string }): Promise<void> {
    resultValue(await this.command({ $case: 'cancel', value: { requestId, sessionId: session?.id ?? '' } }), 'cancel');
  }

  #flush(): void {
    while (this.#batch.length > 0) this.#outbox.push({ commands: this.#batch.splice(0, COMMANDS_MAX) });
  }

  async #read(locks: LockServiceClient): Promise<unknown> {
    try {
      for await (const { results, granted: grants, released } of locks.pipeline(this.#outbox, { signal: this.#abort.signal })) {
        for (const { id, result } of results) this.#answer(id, result);
        for (const run of grants) this.#answerGranted(run);
        for (const run of released) this.#answerReleased(run);
      }
      this.#failAll(new Error('the pipeline has ended'));
      return undefined;
    } catch (error) {
      this.#failAll(error);
      return error;
    }
  }

  #answer(id: bigint, result: PipelineResult['result']): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (!pending) throw new Error(`an answer to nothing: ${id}`);
    if (!result) pending.reject(new Error('a result without a result'));
    else if (result.$case === 'error') pending.reject(fromPipeline(result.value));
    else pending.resolve(result);
  }

  #answerGranted({ id, offsets, firstFencingToken, tokenOffsets, acquireTime, expireTime, epoch }: GrantRun): void {
    for (const [i, offset] of offsets.entries()) {
      const own = this.#pending.get(id + BigInt(offset))?.grant;
      if (!own) throw new Error(`a grant to nobody: ${id} + ${offset}`);
      const fencingToken = firstFencingToken + BigInt(tokenOffsets[i] as number);
      const grant = { ...own, fencingToken, acquireTime, expireTime, epoch, ttl: undefined };
      this.#answer(id + BigInt(offset), { $case: 'acquire', value: { outcome: { $case: 'grant', value: grant } } });
    }
  }

  #answerReleased({ id, offsets }: DoneRun): void {
    for (const offset of offsets) this.#answer(id + BigInt(offset), { $case: 'release', value: {} });
  }

  #failAll(error: unknown): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function resultValue<Case extends Result['$case']>(result: Result, wanted: Case) {
  if (result.$case !== wanted) throw new Error(`expected a result of ${wanted}, and got one of ${result.$case}`);
  return result.value as Extract<Result, { $case: Case }>['value'];
}
