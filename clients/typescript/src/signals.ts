/** Aborts when the first of several signals does, until it is unlinked; they forget it then. Absent ones are left out. */
export class LinkedSignal {
  readonly #controller = new AbortController();
  readonly #sources: readonly AbortSignal[];

  constructor(...sources: (AbortSignal | undefined)[]) {
    this.#sources = sources.filter((source) => source !== undefined);
    for (const source of this.#sources) {
      if (source.aborted) this.#controller.abort(source.reason);
      else source.addEventListener('abort', this.#onAbort);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  unlink(): void {
    for (const source of this.#sources) source.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    this.#controller.abort((event.target as AbortSignal).reason);
  };
}

/**
 * Makes a signal that looks again each time it is asked: between the passing of a deadline and the timer that notices it,
 * a stalled event loop may run any code, which may well ask a signal that it has in its hands.
 * @param look aborts the controller if it is time.
 */
export function lookingSignal(controller: AbortController, look: () => void): AbortSignal {
  const { signal } = controller;
  const aborted = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')?.get as (this: AbortSignal) => boolean;
  const reason = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'reason')?.get as (this: AbortSignal) => unknown;
  const whenLooked = <T>(get: (this: AbortSignal) => T) => ({
    configurable: true,
    get(): T {
      look();
      return get.call(signal);
    },
  });
  const throwIfAborted = (): void => {
    if (signal.aborted) throw signal.reason;
  };
  return Object.defineProperties(signal, {
    aborted: whenLooked(aborted),
    reason: whenLooked(reason),
    throwIfAborted: { configurable: true, value: throwIfAborted },
  });
}
