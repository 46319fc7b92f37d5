import type { Connection } from '../connection.js';
import { StafettError } from '../errors.js';
import { RunStatus } from '../gen/stafett/v1/run.js';
import { type RunStatusName, type RunView, toRunView } from './run-view.js';

/** Which run. */
export interface RunName {
  readonly type: string;
  readonly id: string;
}

export async function cancelRun<R>(connection: Connection, name: RunName, signal?: AbortSignal): Promise<RunView<R>> {
  const request = { ...name, runId: '' };
  const { state } = await connection.call((link, ended) => link.processes.cancelRun(request, { signal: ended }), signal);
  if (!state) throw new StafettError('INTERNAL', 'INTERNAL', 'the server answered without a state');
  return toRunView<R>(state);
}

export async function getRun<R>(connection: Connection, name: RunName, signal?: AbortSignal): Promise<RunView<R> | undefined> {
  try {
    const { state } = await connection.call((link, ended) => link.processes.getRun(name, { signal: ended }), signal);
    return state && toRunView<R>(state);
  } catch (error) {
    if (StafettError.from(error).reason === 'RUN_NOT_FOUND') return undefined;
    throw error;
  }
}

export interface ListRunsOptions {
  readonly type?: string;
  readonly status?: RunStatusName;
  readonly signal?: AbortSignal;
}

export async function* listRuns(connection: Connection, options: ListRunsOptions): AsyncGenerator<RunView> {
  const { type = '', status, signal } = options;
  for (let pageToken = ''; ; ) {
    const request = { type, status: status ? RunStatus[status] : RunStatus.UNSPECIFIED, pageSize: 0, pageToken };
    const page = await connection.call((link, ended) => link.processes.listRuns(request, { signal: ended }), signal);
    yield* page.runs.map((state) => toRunView(state));
    if (page.nextPageToken === '') return;
    pageToken = page.nextPageToken;
  }
}
