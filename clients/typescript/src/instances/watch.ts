import { isDeepStrictEqual } from 'node:util';
import { backoffMs } from '../backoff.js';
import type { Connection } from '../connection.js';
import { isUnavailable, StafettError } from '../errors.js';
import type { WatchInstancesResponse } from '../gen/stafett/v1/instance.js';
import { LinkedSignal } from '../signals.js';
import { type InstanceEvent, type InstanceView, toInstanceView } from './views.js';

export interface InstanceFilter {
  /** Only those of this service. */
  readonly service?: string;
  /** Only those that have all of these. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** The instances, and then every change, through however many connections it takes. */
export async function* watchInstances(connection: Connection, filter: InstanceFilter, signal?: AbortSignal): AsyncGenerator<InstanceEvent> {
  const news = new InstanceNews();
  const request = { service: filter.service ?? '', labels: { ...filter.labels } };
  for (let failures = 1; ; failures++) {
    const link = await connection.link(Number.POSITIVE_INFINITY, signal);
    const linked = new LinkedSignal(link.broken, signal);
    try {
      news.begin();
      for await (const response of link.instances.watchInstances(request, { signal: linked.signal })) {
        failures = 0;
        yield* news.of(response);
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (!link.broken.aborted && !isUnavailable(cause)) throw StafettError.from(cause);
      const { retryDelayMs } = StafettError.from(cause);
      if (!link.broken.aborted) await connection.pause(backoffMs({ count: failures, servers: 1, retryDelayMs }), signal);
    } finally {
      linked.unlink();
    }
  }
}

/** Tells what is new in what servers tell: each server that a watch comes to begins from the beginning. */
class InstanceNews {
  readonly #told = new Map<string, InstanceView>();
  /** Those that the present connection has not told of yet. */
  #unconfirmed = new Set<string>();
  #complete = false;

  begin(): void {
    this.#unconfirmed = new Set(this.#told.keys());
  }

  *of({ event }: WatchInstancesResponse): Generator<InstanceEvent> {
    if (event?.$case === 'present') yield* this.#onPresent(toInstanceView(event.value));
    else if (event?.$case === 'goneInstanceId') yield* this.#onGone(event.value);
    else if (event?.$case === 'snapshotEnd') {
      for (const id of this.#unconfirmed) yield* this.#onGone(id);
      if (!this.#complete) yield { type: 'snapshot-end' };
      this.#complete = true;
    }
  }

  *#onPresent(instance: InstanceView): Generator<InstanceEvent> {
    this.#unconfirmed.delete(instance.id);
    const before = this.#told.get(instance.id);
    this.#told.set(instance.id, instance);
    if (!isDeepStrictEqual(before, instance)) yield { type: 'present', instance };
  }

  *#onGone(id: string): Generator<InstanceEvent> {
    const instance = this.#told.get(id);
    this.#told.delete(id);
    if (instance) yield { type: 'gone', instance };
  }
}
