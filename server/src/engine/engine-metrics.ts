import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { BatchReply, Command } from './commands.js';
import { countOf } from './room.js';
import { RunMetrics } from './run-metrics.js';

/** How many there are in a namespace: sessions, names held, acquires that wait, runs that go on, runs that wait for a node. */
export interface Counts {
  sessions: number;
  held: number;
  waiting: number;
  running: number;
  pending: number;
}

/** What the state machine tells of itself. Gauges speak of the whole cluster, as of the last time this server heard. */
export class EngineMetrics {
  readonly #totals = new Map<string, Counts>();
  readonly #handoffs: Counter;
  readonly #expiries: Counter;
  readonly #forced: Counter;
  readonly #batchSize: Histogram;
  readonly #batchTime: Histogram;
  readonly #runs: RunMetrics;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#runs = new RunMetrics(registry);
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.#handoffs = counter('stafett_handoffs_total', 'Grants to somebody who had waited.');
    this.#expiries = counter('stafett_lock_expiries_total', 'Grants that ended because their session or lease ran out.');
    this.#forced = counter('stafett_forced_releases_total', 'Grants that an operator took away.');
    this.#batchSize = new Histogram({
      name: 'stafett_batch_commands',
      help: 'Commands in one script call.',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    });
    this.#batchTime = new Histogram({
      name: 'stafett_script_seconds',
      help: 'From sending a script call to its reply.',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5],
      registers,
    });
    this.#gauge(registers, 'stafett_sessions', 'Open sessions in the cluster.', 'sessions');
    this.#gauge(registers, 'stafett_locks_held', 'Names that are held in the cluster.', 'held');
    this.#gauge(registers, 'stafett_lock_waiters', 'Acquires that wait in the cluster.', 'waiting');
    this.#gauge(registers, 'stafett_runs_running', 'Runs that go on in the cluster.', 'running');
    this.#gauge(registers, 'stafett_runs_pending', 'Runs in the cluster that wait for a node.', 'pending');
  }

  onBatch(commands: readonly Command[], ms: number): void {
    this.#batchSize.observe(commands.reduce((sum, command) => sum + countOf(command), 0));
    this.#batchTime.observe(ms / 1000);
  }

  onReply(namespace: string, { stats: [handoffs, expired, forced, held, waiting], events }: BatchReply): void {
    for (const event of events) if (event[0] === 'run_ended') this.#runs.ended(event[1], event[2], event[3]);
    if (handoffs > 0) this.#handoffs.inc(handoffs);
    if (expired > 0) this.#expiries.inc(expired);
    if (forced > 0) this.#forced.inc(forced);
    if (held >= 0) this.#totalsOf(namespace).held = held;
    if (waiting >= 0) this.#totalsOf(namespace).waiting = waiting;
  }

  setCounts(namespace: string, counts: Counts): void {
    this.#totals.set(namespace, counts);
  }

  #totalsOf(namespace: string): Counts {
    const totals = this.#totals.get(namespace) ?? { sessions: 0, held: 0, waiting: 0, running: 0, pending: 0 };
    this.#totals.set(namespace, totals);
    return totals;
  }

  #gauge(registers: Registry[], name: string, help: string, key: keyof Counts): void {
    const totals = this.#totals;
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set([...totals.values()].reduce((sum, each) => sum + each[key], 0));
      },
    });
  }
}
