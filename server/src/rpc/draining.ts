import { setMaxListeners } from 'node:events';
import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import { shuttingDown } from './errors.js';

/** The two steps in which a server stops. */
export class Stopping {
  readonly #draining = new AbortController();
  readonly #closing = new AbortController();
  #underWay = 0;
  #onIdle = () => {};

  constructor() {
    // Each call that is under way listens.
    setMaxListeners(0, this.draining, this.closing);
  }

  /** Aborted first: no new calls, and streams that only tell are ended. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Aborted at the drain timeout: whatever is still under way is ended. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  drain(): void {
    this.#draining.abort();
  }

  close(): void {
    this.#closing.abort();
  }

  /** Resolves when no call is under way. To be asked once, when no new ones are let in. */
  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** @internal A call begins. Returns what tells that it has ended. */
  begin(): () => void {
    this.#underWay++;
    return () => {
      this.#underWay--;
      if (this.#underWay === 0) this.#onIdle();
    };
  }
}

/** Refuses calls that begin after the server began to stop. Those that began before may go on. */
export function refuseWhen(draining: AbortSignal): ServerMiddleware {
  return function refuseWhenDraining<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    if (draining.aborted) throw shuttingDown();
    return call.next(call.request, context);
  };
}

/** Ends calls in the order of a stop. Calls in both directions end by what they agree on with their clients, or at last. */
export function endCallsWhen(stopping: Stopping): ServerMiddleware {
  const { draining, closing } = stopping;
  return endWhen(stopping, (call) => (call.responseStream && !call.requestStream ? draining : closing));
}

/** Ends all calls as soon as the server begins to stop: for services that are not what it is there for. */
export function endAllWhen(stopping: Stopping): ServerMiddleware {
  return endWhen(stopping, () => stopping.draining);
}

/** A call is ended by aborting its signal; its caller is told SHUTTING_DOWN, whatever the handler made of the abort. */
function endWhen(
  stopping: Stopping,
  signalFor: (call: { requestStream: boolean; responseStream: boolean }) => AbortSignal,
): ServerMiddleware {
  return async function* endWhenStopping<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    const stop = signalFor(call);
    const signal = new EitherSignal(context.signal, stop);
    const ended = stopping.begin();
    try {
      const response = yield* call.next(call.request, Object.create(context, { signal: { get: () => signal.get() } }));
      if (call.responseStream && stop.aborted) throw shuttingDown();
      return response;
    } catch (error) {
      if (stop.aborted && !context.signal.aborted) throw shuttingDown();
      throw error;
    } finally {
      signal.unlink();
      ended();
    }
  };
}

/** The items until the signal is aborted, even if the next one never comes. */
export async function* until<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let giveUp = () => {};
  const onAbort = () => giveUp();
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      // Not Promise.race: it would leave something behind for each item.
      const result = await new Promise<IteratorResult<T, unknown>>((resolve, reject) => {
        giveUp = () => resolve({ done: true, value: undefined });
        iterator.next().then(resolve, reject);
      });
      if (result.done) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A signal that follows two others until it is unlinked. Made when it is asked for: most calls never look at theirs. */
class EitherSignal {
  readonly #sources: AbortSignal[];
  #controller: AbortController | undefined;
  readonly #abort = () => this.#controller?.abort();

  constructor(...sources: AbortSignal[]) {
    this.#sources = sources;
  }

  get(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      for (const source of this.#sources) {
        if (source.aborted) this.#abort();
        else source.addEventListener('abort', this.#abort);
      }
    }
    return this.#controller.signal;
  }

  unlink(): void {
    for (const source of this.#sources.splice(0)) source.removeEventListener('abort', this.#abort);
  }
}
