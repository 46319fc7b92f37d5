import {
  type ReportRunRequest,
  type RunAssignment,
  type RunCancellation,
  type RunState,
  RunStatus,
  type ServeRunsRequest,
  type StartOrGetStatusRequest,
} from '../../server/src/gen/stafett/v1/run.js';
import type { StubClient } from './stub-client.js';
import { StubOutbox } from './stub-outbox.js';

type Connection = Pick<StubClient, 'processes'>;
type Session = { readonly id: string };
type Partly<T> = { readonly [K in keyof T]?: T[K] };

export const TYPE = 'report';

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Starts, unless told otherwise, `report/1` on whoever serves it. */
export async function start({ processes }: Connection, request: Partly<StartOrGetStatusRequest> = {}, { id }: { id?: string } = {}) {
  return processes.startOrGetStatus({
    type: TYPE,
    id: '1',
    restartIfNotRunning: true,
    ...(id !== undefined && { sessionId: id }),
    ...request,
  });
}

/** Starts a run of the session's own, which must be possible. */
export async function startHere(client: Connection, session: Session, request: Partly<StartOrGetStatusRequest> = {}): Promise<RunState> {
  const { state, started } = await start(client, request, session);
  if (!state || !started) throw new Error('the run was not started');
  return state;
}

export function report({ processes }: Connection, { type, id, runId, sessionId }: RunState, what: ReportRunRequest['report']) {
  return processes.reportRun({ type, id, runId, sessionId, report: what });
}

export const progress = (percent: number, message = ''): ReportRunRequest['report'] => ({ $case: 'progress', value: { percent, message } });
export const success = (result: unknown): ReportRunRequest['report'] => ({ $case: 'success', value: { result: json(result) } });
export const failure = (message: string, stack = ''): ReportRunRequest['report'] => ({ $case: 'failure', value: { message, stack } });
export const cancelled: ReportRunRequest['report'] = { $case: 'cancelled', value: {} };

/** One reader of a run's states. */
export class StubRunWatch {
  readonly states: RunState[] = [];
  /** How it ended: undefined for OK. */
  readonly ended: Promise<unknown>;
  readonly #abort = new AbortController();

  constructor({ processes }: Connection, id = '1') {
    this.ended = this.#read(processes, id);
  }

  /** The states, for comparison: `RUNNING 40`, `SUCCEEDED`. */
  story(): string[] {
    return this.states.map(({ status, progress: at }) =>
      status === RunStatus.RUNNING ? `RUNNING ${at?.percent ?? 0}` : (RunStatus[status] as string),
    );
  }

  break(): void {
    this.#abort.abort();
  }

  async #read(processes: Connection['processes'], id: string): Promise<unknown> {
    try {
      for await (const { state } of processes.watchRun({ type: TYPE, id }, { signal: this.#abort.signal }))
        if (state) this.states.push(state);
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

/** A node that offers to run runs, and notes what it is told. */
export class StubRunner {
  readonly assignments: RunAssignment[] = [];
  readonly cancellations: RunCancellation[] = [];
  accepted = 0;
  readonly ended: Promise<unknown>;
  readonly #outbox = new StubOutbox<ServeRunsRequest>();
  readonly #abort = new AbortController();

  constructor(
    { processes }: Connection,
    readonly session: Session,
  ) {
    this.ended = this.#read(processes);
  }

  offer(offers: Record<string, number>): void {
    const list = Object.entries(offers).map(([type, concurrency]) => ({ type, concurrency }));
    this.#outbox.push({ sessionId: this.session.id, offers: list });
  }

  break(): void {
    this.#abort.abort();
  }

  async #read(processes: Connection['processes']): Promise<unknown> {
    try {
      for await (const { event } of processes.serveRuns(this.#outbox, { signal: this.#abort.signal })) {
        if (event?.$case === 'accepted') this.accepted++;
        else if (event?.$case === 'assignment') this.assignments.push(event.value);
        else if (event?.$case === 'cancellation') this.cancellations.push(event.value);
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }
}
