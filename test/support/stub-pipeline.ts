import type {
  DeepPartial,
  Grant,
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
      for await (const { results } of locks.pipeline(this.#outbox, { signal: this.#abort.signal })) {
        for (const { id, result } of results) this.#answer(id, result);
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

  #failAll(error: unknown): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function resultValue<Case extends Result['$case']>(result: Result, wanted: Case) {
  if (result.$case !== wanted) throw new Error(`expected a result of ${wanted}, and got one of ${result.$case}`);
  return result.value as Extract<Result, { $case: Case }>['value'];
}
