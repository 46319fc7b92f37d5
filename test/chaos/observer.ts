import { setTimeout as sleep } from 'node:timers/promises';
import type { Lock } from '../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from '../support/cleanup.js';
import type { Rng } from '../support/rng.js';
import type { StubClient } from '../support/stub-client.js';
import { connectStub } from '../support/stub-stack.js';
import { monotonicUs } from './events.js';
import { NAMES } from './settings.js';
import type { ChaosServer } from './world.js';

const EVERY_MS = 60;
const PATIENCE_MS = 500;

/** What a server told of one name, at some moment between two. µs of the monotonic clock. */
export interface Observation {
  readonly from: number;
  readonly to: number;
  readonly name: string;
  /** Who waits, the first in line first: `<session>/<transaction>`. */
  readonly queue: readonly string[];
  /** Who had it, by the clock of Redis, ms. */
  readonly past: readonly { readonly token: bigint; readonly since: number; readonly until: number }[];
}

/** Looks at the queues all the time, past the proxies. */
export class Observer {
  readonly observations: Observation[] = [];
  readonly #stubs = new Map<number, StubClient>();
  #stopped = false;

  constructor(
    private readonly servers: readonly ChaosServer[],
    private readonly namespace: string,
    private readonly rng: Rng,
  ) {
    onCleanup(() => {
      this.#stopped = true;
    });
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      await Promise.all(NAMES.map((name) => this.#look(name, this.rng.pick(this.servers)).catch(() => {}))); // servers die
      await sleep(EVERY_MS);
    }
  }

  async #look(name: string, { running }: ChaosServer): Promise<void> {
    const stub = this.#stubs.get(running.grpcPort) ?? connectStub(running, this.namespace);
    this.#stubs.set(running.grpcPort, stub);
    const from = monotonicUs();
    const { lock } = await stub.locks.getLock({ name }, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (lock) this.observations.push(toObservation(lock, from));
  }
}

function toObservation({ name, waiters, history }: Lock, from: number): Observation {
  return {
    from,
    to: monotonicUs(),
    name,
    queue: waiters.map(({ sessionId, purpose }) => `${sessionId}/${purpose}`),
    past: history.map((past) => ({ token: past.fencingToken, since: toMs(past.acquireTime), until: toMs(past.endTime) })),
  };
}

function toMs(time: { seconds: bigint; nanos: number } | undefined): number {
  return time ? Number(time.seconds) * 1_000 + time.nanos / 1e6 : 0;
}
