import { randomBytes } from 'node:crypto';
import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { StartArgs } from '../../engine/process-commands.js';
import { packOwner } from '../../locks/lock-views.js';
import { plan } from './plan.js';
import type { ProcessMetrics } from './process-metrics.js';
import { isDraining, type Snapshot, toSnapshot } from './snapshot.js';

/** How long the engine tells this server of changes, and how often that is renewed, ms. */
const OBSERVE_MS = 30_000;
const RENEW_MS = 10_000;
/** After a node has joined, nothing moves for so long: others may be about to join as well. */
const JOIN_DELAY_MS = 1_000;
/** So that the delay has passed by the clock of Redis, ms. */
const MARGIN_MS = 5;

/** Told what has become of the process. */
export interface Observer {
  /** Its node is connected here. */
  readonly isNode: boolean;
  onSnapshot(snapshot: Snapshot): void;
}

export interface ManagedProcessOptions {
  readonly name: string;
  readonly engine: NamespaceEngine;
  readonly metrics: ProcessMetrics;
  onSnapshot(snapshot: Snapshot): void;
}

/**
 * One managed process, as this server sees it while somebody here cares for it: reads its state when something has changed, and
 * tells it. As long as a node of it is connected here it also plans who is to have which slot. Every server with a node does so;
 * the engine takes the first plan for each version of the process, and the others find nothing left to do.
 */
export class ManagedProcess {
  readonly #options: ManagedProcessOptions;
  readonly #observers = new Set<Observer>();
  readonly #renewal: NodeJS.Timeout;
  #later: NodeJS.Timeout | undefined;
  #asking = false;
  #askAgain = false;

  constructor(options: ManagedProcessOptions) {
    this.#options = options;
    this.#renewal = setInterval(() => this.refresh(), RENEW_MS).unref();
  }

  get name(): string {
    return this.#options.name;
  }

  get isIdle(): boolean {
    return this.#observers.size === 0;
  }

  add(observer: Observer): void {
    this.#observers.add(observer);
    this.refresh();
  }

  remove(observer: Observer): void {
    this.#observers.delete(observer);
  }

  close(): void {
    clearInterval(this.#renewal);
    clearTimeout(this.#later);
    this.#options.engine.submit<'unobserve'>(['unobserve', this.#options.name], () => {});
  }

  /** Reads the state; what comes while that is under way is one more reading. */
  refresh(): void {
    if (this.#asking) {
      this.#askAgain = true;
      return;
    }
    this.#asking = true;
    this.#askAgain = false;
    const { name, engine } = this.#options;
    engine.submit<'process'>(['process', name, OBSERVE_MS], (_, result) => {
      this.#asking = false;
      if (result) this.#onSnapshot(toSnapshot(name, result, engine.epoch.id)); // else: asked again when Redis is back
      if (this.#askAgain && !this.isIdle) this.refresh();
    });
  }

  #onSnapshot(snapshot: Snapshot): void {
    this.#options.onSnapshot(snapshot);
    let hasNode = false;
    for (const observer of this.#observers) {
      observer.onSnapshot(snapshot);
      hasNode ||= observer.isNode;
    }
    if (hasNode) this.#place(snapshot);
  }

  #place({ name, config, nodes, slots, now, graceUntil }: Snapshot): void {
    if (!config) return;
    const [workers, running, , , , version] = config;
    const { start, drain, move } = plan(
      { name, workers, running: running === 1 },
      nodes.map(([id, , capacity]) => ({ id, capacity })),
      slots.map((slot) => ({ slot: slot[0], node: slot[1], draining: isDraining(slot) })),
    );
    const calmAt = Math.max(...nodes.map(([, , , since]) => since)) + JOIN_DELAY_MS;
    if (move.length > 0 && calmAt > now) this.#refreshIn(calmAt - now);
    const moves = calmAt > now ? [] : move;
    const starts = graceUntil > now ? [] : start.map(({ slot, node }) => toStart(name, slot, node));
    if (starts.length + drain.length + moves.length === 0) return;
    const { engine, metrics } = this.#options;
    engine.submit<'place'>(['place', name, version, starts, [...drain, ...moves]], (_, result) => {
      if (result?.[0] === 'placed' && moves.length > 0) metrics.rebalanced();
      if (result?.[0] === 'stale') this.refresh();
    });
  }

  #refreshIn(ms: number): void {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.refresh(), ms + MARGIN_MS).unref();
  }
}

function toStart(process: string, slot: number, sid: string): StartArgs {
  return [slot, sid, `slot-${randomBytes(9).toString('base64url')}`, packOwner(undefined, `worker ${slot} of ${process}`)];
}
