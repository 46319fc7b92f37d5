import type { Connection } from '../connection.js';
import { StafettError } from '../errors.js';
import type { AssertRunRequest, ReportRunRequest, RunAssignment, RunState } from '../gen/stafett/v1/run.js';
import type { SessionLife } from '../life.js';
import { lookingSignal } from '../signals.js';
import { fromJson, type RunProgress } from './run-view.js';

type Report = ReportRunRequest['report'];

/** The servers' own limits, bytes of UTF-8. */
const RESULT_BYTES_MAX = 256 * 1024;
const MESSAGE_BYTES_MAX = 1_024;
const STACK_BYTES_MAX = 16 * 1_024;
/** How soon a report is sent again that no server took, ms. */
const RETRY_MS = 250;

/** What the function of a run gets to know, and by what it reports. */
export interface Run {
  readonly type: string;
  readonly id: string;
  readonly runId: string;
  /** Higher for each later run: give it to whatever the run writes to, and let that refuse a lower one. */
  readonly fencingToken: bigint;
  /** 1, and one more each time that it was started again by itself because it was lost. */
  readonly attempt: number;
  /**
   * Aborted when the run is to be cancelled (RUN_CANCELLED), when it is lost because its session is (SESSION_LOST), when
   * another run has its place (RUN_NOT_CURRENT), and when the client is closed (CLOSED). Compares with the clock when it is asked.
   */
  readonly signal: AbortSignal;
  /**
   * Tells how far it is. Of what is told faster than it can be sent only the latest is. Resolves when a server has it; without a
   * connection at once, and it is told later. Nobody who watches slows it down.
   * @throws {TypeError} for a percentage out of 0 to 100, or a message above 1 KiB.
   */
  progress(progress: { readonly percent?: number; readonly message?: string }): Promise<void>;
}

/** One run that this process runs, from its start until its end was reported or it is not this process's any more. */
export class Execution implements Run {
  /** The life of Redis' data in which it is known. */
  epoch: string;
  /** Somebody wants it to be cancelled. */
  cancelled = false;
  readonly #connection: Connection;
  readonly #assignment: RunAssignment;
  readonly #requestId: string;
  readonly #state: RunState;
  readonly #controller = new AbortController();
  #progress: RunProgress;
  #isUnsent = false;
  #sending: Promise<void> | undefined;
  #over = false;

  constructor(
    connection: Connection,
    readonly life: SessionLife,
    assignment: RunAssignment,
    { epoch, requestId = '' }: { epoch: string; requestId?: string },
  ) {
    this.#connection = connection;
    this.#assignment = assignment;
    this.#requestId = requestId;
    this.#state = assignment.state as RunState;
    this.#progress = this.#state.progress ?? { percent: 0, message: '' };
    this.epoch = epoch;
    life.runs.add(this);
    lookingSignal(this.#controller, () => void life.lost);
    if (this.#state.cancelRequested) this.cancel();
  }

  get type(): string {
    return this.#state.type;
  }

  get id(): string {
    return this.#state.id;
  }

  get runId(): string {
    return this.#state.runId;
  }

  get fencingToken(): bigint {
    return this.#state.fencingToken;
  }

  get attempt(): number {
    return this.#state.attempt;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get input(): unknown {
    return fromJson(this.#assignment.input);
  }

  cancel(): void {
    this.cancelled = true;
    this.#controller.abort(new StafettError('CANCELLED', 'RUN_CANCELLED', `run ${this.runId} is to be cancelled`));
  }

  /** It is not this process's any more; what it still does counts for nothing. */
  lose(reason: StafettError): void {
    this.life.runs.delete(this);
    this.#over = true;
    this.#controller.abort(reason);
  }

  async progress({ percent = this.#progress.percent, message = '' }: { percent?: number; message?: string }): Promise<void> {
    if (!(percent >= 0 && percent <= 100)) throw new TypeError(`percent: ${percent}; must be between 0 and 100`);
    if (Buffer.byteLength(message) > MESSAGE_BYTES_MAX) throw new TypeError(`message: at most ${MESSAGE_BYTES_MAX} bytes are allowed`);
    this.#progress = { percent, message };
    this.#isUnsent = true;
    await this.resume();
  }

  /** Sends the progress that is not sent yet, if there is a connection. */
  resume(): Promise<void> {
    this.#sending ??= this.#sendProgress().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  async #sendProgress(): Promise<void> {
    for (let { present } = this.#connection; this.#isUnsent && !this.#over && present; { present } = this.#connection) {
      this.#isUnsent = false;
      try {
        const request = this.#request({ $case: 'progress', value: this.#progress });
        const { cancelRequested } = await present.processes.reportRun(request, { signal: present.broken });
        if (cancelRequested) this.cancel();
      } catch (cause) {
        this.#isUnsent = true;
        return this.#onRefused(StafettError.from(cause));
      }
    }
  }

  #onRefused(error: StafettError): void {
    if (error.reason === 'RUN_NOT_CURRENT') return this.lose(error);
    void this.#connection.pause(error.retryDelayMs ?? RETRY_MS).then(() => this.resume());
  }

  /** Reports what it came to, however long that takes; nobody else can have it as long as the session lives. */
  async finish(work: Promise<unknown>): Promise<void> {
    let report = await this.#toReport(work);
    this.#isUnsent = false;
    await this.#sending;
    while (!this.#over) {
      try {
        await this.#connection.call((link, signal) => link.processes.reportRun(this.#request(report), { signal }));
        break;
      } catch (cause) {
        const error = StafettError.from(cause);
        if (error.reason === 'RUN_NOT_CURRENT') return this.lose(error);
        if (error.code === 'INVALID_ARGUMENT') report = toFailure(error, false);
        else await this.#connection.pause(error.retryDelayMs ?? RETRY_MS);
      }
    }
    this.life.runs.delete(this);
    this.#over = true;
  }

  async #toReport(work: Promise<unknown>): Promise<Report> {
    try {
      const result = Buffer.from(JSON.stringify(await work) ?? '');
      if (result.length <= RESULT_BYTES_MAX) return { $case: 'success', value: { result } };
      return toFailure(new Error(`the result has ${result.length} bytes; at most ${RESULT_BYTES_MAX} are allowed`), false);
    } catch (error) {
      return this.cancelled ? { $case: 'cancelled', value: {} } : toFailure(error, this.showStack);
    }
  }

  /** Whether the stack of an error is for others to see. */
  showStack = false;

  #request(report: Report): ReportRunRequest {
    const { type, id, runId } = this;
    return { sessionId: this.life.id, type, id, runId, report };
  }

  /** For servers that have lost it. */
  toAssert(): AssertRunRequest {
    const { input, retryOnLost, resultTtl } = this.#assignment;
    const state = { ...this.#state, progress: this.#progress, cancelRequested: this.cancelled };
    return { sessionId: this.life.id, state, input, retryOnLost, resultTtl, requestId: this.#requestId };
  }
}

function toFailure(error: unknown, showStack: boolean): Report {
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
  const value = { message: cut(message, MESSAGE_BYTES_MAX), stack: showStack ? cut(stack, STACK_BYTES_MAX) : '' };
  return { $case: 'failure', value };
}

/** As much as fits, in whole characters. */
function cut(text: string, bytesMax: number): string {
  if (Buffer.byteLength(text) <= bytesMax) return text;
  return Buffer.from(text)
    .subarray(0, bytesMax)
    .toString()
    .replace(/\uFFFD+$/, '');
}
