import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import { Crowd, type Placed } from '../crowd.js';
import { shuttingDown } from './errors.js';

/**
 * Something that happens once, and that each call under way wants to hear of. Not an `AbortSignal`, which looks through all its listeners for each
 * one that is added or removed: with 20,000 streams that takes longer than all the rest of a call.
 */
export class Step {
  readonly #followers = new Crowd<Placed & { tell(): void }>();
  #reached = false;

  get reached(): boolean {
    return this.#reached;
  }

  /** Told when it is reached; at once if it has been already. Returns what ends that. */
  follow(tell: () => void): () => void {
    if (this.#reached) tell();
    const follower = { tell, place: 0 };
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** @internal */
  reach(): void {
    if (this.#reached) return;
    this.#reached = true;
    for (const { tell } of this.#followers.all()) tell();
  }
}

/** The two steps in which a server stops. */
export class Stopping {
  /** Reached first: no new calls, and streams that only tell are ended. */
  readonly draining = new Step();
  /** Reached at the drain timeout: whatever is still under way is ended. */
  readonly closing = new Step();
  #underWay = 0;
  #onIdle = () => {};

  drain(): void {
    this.draining.reach();
  }

  close(): void {
    this.closing.reach();
  }

  /** Resolves when no call is under way. To be asked once, when no new ones are let in. */
  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** A call begins. Returns what tells that it has ended. */
  begin(): () => void {
    this.#underWay++;
    return () => {
      this.#underWay--;
      if (this.#underWay === 0) this.#onIdle();
    };
  }
}

/** Refuses calls that begin after the server began to stop. Those that began before may go on. */
export function refuseWhen(draining: Step): ServerMiddleware {
  return function refuseWhenDraining<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    if (draining.reached) throw shuttingDown();
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
function endWhen(stopping: Stopping, signalFor: (call: { requestStream: boolean; responseStream: boolean }) => Step): ServerMiddleware {
  return async function* endWhenStopping<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    const stop = signalFor(call);
    const signal = new CallSignal(context.signal, stop);
    const ended = stopping.begin();
    try {
      const response = yield* call.next(call.request, Object.create(context, { signal: { get: () => signal.get() } }));
      if (call.responseStream && stop.reached) throw shuttingDown();
      return response;
    } catch (error) {
      if (stop.reached && !context.signal.aborted) throw shuttingDown();
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

/** Aborted with the call, or when the step is reached, until it is unlinked. Made when it is asked for: most calls never look at theirs. */
class CallSignal {
  readonly #call: AbortSignal;
  readonly #step: Step;
  #controller: AbortController | undefined;
  #unfollow = () => {};
  readonly #abort = () => this.#controller?.abort();

  constructor(call: AbortSignal, step: Step) {
    this.#call = call;
    this.#step = step;
  }

  get(): AbortSignal {
    if (this.#controller) return this.#controller.signal;
    this.#controller = new AbortController();
    if (this.#call.aborted) this.#abort();
    this.#call.addEventListener('abort', this.#abort);
    this.#unfollow = this.#step.follow(this.#abort);
    return this.#controller.signal;
  }

  unlink(): void {
    this.#unfollow();
    if (this.#controller) this.#call.removeEventListener('abort', this.#abort);
  }
}
