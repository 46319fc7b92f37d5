import { backoffMs } from '../backoff.js';
import type { Connection } from '../connection.js';
import { isUnavailable, StafettError } from '../errors.js';
import type { RunState } from '../gen/stafett/v1/run.js';
import { LinkedSignal } from '../signals.js';
import { isFinal, type RunView, toRunView } from './run-view.js';

/** Every state of a run until it is over, through however many connections it takes. */
export async function* watchRun<R>(
  connection: Connection,
  named: { readonly type: string; readonly id: string },
  signal?: AbortSignal,
): AsyncGenerator<RunView<R>> {
  let last: RunState | undefined;
  for (let failures = 0; ; failures++) {
    const link = await connection.link(Number.POSITIVE_INFINITY, signal);
    const linked = new LinkedSignal(link.broken, signal);
    try {
      for await (const { state } of link.processes.watchRun(named, { signal: linked.signal })) {
        failures = 0;
        if (!state || (last && isSame(last, state))) continue;
        last = state;
        const view = toRunView<R>(state);
        yield view;
        if (isFinal(view)) return;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (!link.broken.aborted && !isUnavailable(cause)) throw StafettError.from(cause);
      const { retryDelayMs } = StafettError.from(cause);
      if (!link.broken.aborted) await connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs }), signal);
    } finally {
      linked.unlink();
    }
  }
}

/** Each connection begins with the state as it is, which may have been told over the one before. */
function isSame(a: RunState, b: RunState): boolean {
  const sameProgress = a.progress?.percent === b.progress?.percent && a.progress?.message === b.progress?.message;
  return a.runId === b.runId && a.status === b.status && sameProgress && a.cancelRequested === b.cancelRequested;
}
