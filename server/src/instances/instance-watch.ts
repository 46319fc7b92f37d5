import type { WatchInstancesResponse } from '../gen/stafett/v1/instance.js';
import type { InstanceListener, InstanceWatches } from './instance-watches.js';
import { type Filter, matches } from './registration.js';

/** One reader of the instances. What changes several times before it is read is told once: there is never more to tell than there are instances. */
export class InstanceWatch implements InstanceListener {
  readonly #filter: Filter;
  readonly #changed = new Set<string>();
  /** What the reader was told last, of each instance that it knows of. */
  readonly #told = new Map<string, string>();
  #wake: () => void = () => {};
  #ended = false;

  constructor(filter: Filter) {
    this.#filter = filter;
  }

  onChange(instanceId: string): void {
    this.#changed.add(instanceId);
    this.#wake();
  }

  async *run(watches: InstanceWatches, signal: AbortSignal): AsyncGenerator<WatchInstancesResponse> {
    const onAbort = () => this.#end();
    signal.addEventListener('abort', onAbort);
    try {
      await watches.add(this);
      for (const instanceId of watches.ids()) this.#changed.add(instanceId);
      yield* this.#news(watches);
      yield { event: { $case: 'snapshotEnd', value: {} } };
      while (!this.#ended && !signal.aborted) {
        yield* this.#news(watches);
        if (this.#changed.size === 0) await this.#somethingNew();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      watches.remove(this);
    }
  }

  *#news(watches: InstanceWatches): Generator<WatchInstancesResponse> {
    for (const instanceId of this.#changed) {
      this.#changed.delete(instanceId);
      const instance = watches.get(instanceId);
      const told = this.#told.get(instanceId);
      if (instance && matches(this.#filter, instance)) {
        const state = JSON.stringify(instance, (_, value) => (typeof value === 'bigint' ? String(value) : value));
        this.#told.set(instanceId, state);
        if (state !== told) yield { event: { $case: 'present', value: instance } };
      } else if (told !== undefined) {
        this.#told.delete(instanceId);
        yield { event: { $case: 'goneInstanceId', value: instanceId } };
      }
    }
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #somethingNew(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
