import type { CallInstanceResponse } from '../gen/stafett/v1/instance.js';
import { TAKEN } from '../rpc/strict-decoding.js';
import type { InstanceMetrics } from './instance-metrics.js';
import { CALLS_MAX } from './limits.js';
import { callTimeout, tooManyCalls } from './refusals.js';
import type { CallPlan, RunningCall } from './running-call.js';
import type { SpentChunks } from './spent-chunks.js';

/** The calls that came in through this server. */
export class Answering {
  readonly #metrics: InstanceMetrics;
  readonly #spent: SpentChunks;
  #running = 0;

  constructor(metrics: InstanceMetrics, spent: SpentChunks) {
    this.#metrics = metrics;
    this.#spent = spent;
  }

  /**
   * Carries the answer of a call to its reader, until either of them has enough. What the transport has not taken counts as not
   * consumed, so that a slow reader slows the instance.
   * @param start finds the instance and asks it.
   */
  async *answer(plan: CallPlan, start: () => Promise<RunningCall>, signal: AbortSignal): AsyncGenerator<CallInstanceResponse> {
    if (this.#running >= CALLS_MAX) throw tooManyCalls(`this server routes ${CALLS_MAX} calls already; try again when some have ended`);
    const beganAt = this.#begin();
    let [complete, failure]: [boolean, unknown] = [false, undefined];
    try {
      for await (const response of relay(await start(), plan, signal)) {
        const { event } = response;
        complete = event?.$case === 'finished';
        yield response;
        if (event?.$case === 'chunk') this.#took(event.value.length);
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#running--;
      this.#metrics.ended(plan.name, performance.now() - beganAt, complete, failure);
    }
  }

  #took(bytes: number): void {
    this.#metrics.took(bytes);
    this.#spent.add(bytes);
  }

  #begin(): number {
    this.#running++;
    this.#metrics.began();
    return performance.now();
  }
}

async function* relay(call: RunningCall, { timeoutMs }: CallPlan, signal: AbortSignal): AsyncGenerator<CallInstanceResponse> {
  const onAbort = () => call.stop('the caller is gone');
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  const onTimeout = () => call.stop('the timeout of the call has passed', callTimeout(timeoutMs ?? 0));
  const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs);
  try {
    for await (const response of call.events()) yield takenBy(response, call);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    call.stop('the caller has enough');
  }
}

/** Lets the call know when the transport has taken a chunk. */
function takenBy<T extends { event?: CallInstanceResponse['event'] }>(response: T, call: RunningCall): T {
  const { event } = response;
  if (event?.$case !== 'chunk') return response;
  return Object.assign(response, { [TAKEN]: () => call.consumed(event.value.length) });
}
