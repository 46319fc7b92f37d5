import type { ClusterState, WatchProcessResponse } from '../../gen/stafett/v1/process.js';
import { Latest } from '../latest.js';
import type { Observer } from './managed-process.js';
import { toClusterState } from './process-views.js';
import type { Snapshot } from './snapshot.js';

/** One reader of a process's states. That its nodes' sessions were kept alive is no change. */
export class ProcessWatch implements Observer {
  readonly isNode = false;
  readonly #states = new Latest<WatchProcessResponse>();
  #told = '';

  onSnapshot(snapshot: Snapshot): void {
    const state = toClusterState(snapshot);
    const told = fingerprint(state);
    if (told === this.#told) return;
    this.#told = told;
    this.#states.push({ state });
  }

  end(): void {
    this.#states.end();
  }

  states(): AsyncIterable<WatchProcessResponse> {
    return this.#states.values();
  }
}

function fingerprint(state: ClusterState): string {
  return JSON.stringify(state, (key, value) => (key === 'heartbeatTime' ? undefined : typeof value === 'bigint' ? String(value) : value));
}
