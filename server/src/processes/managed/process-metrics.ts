import { Counter, Gauge, type Registry } from 'prom-client';
import type { ProcessView } from '../../engine/process-commands.js';
import { wantedWorkers } from './snapshot.js';

interface Totals {
  readonly wanted: number;
  readonly running: number;
  readonly pending: number;
}

/** The gauges speak of the whole cluster, as of the last time this server looked; the counters of what went through this server. */
export class ProcessMetrics {
  readonly #totals = new Map<string, Totals>();
  readonly #restarts: Counter;
  readonly #rebalances: Counter;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#restarts = new Counter({ name: 'stafett_worker_restarts_total', help: 'Workers that returned or failed.', registers });
    this.#rebalances = new Counter({
      name: 'stafett_process_rebalances_total',
      help: 'Plans that moved slots which were in use from one node to another.',
      registers,
    });
    this.#gauge(registry, 'stafett_workers_wanted', 'Workers that managed processes are to have in the cluster.', 'wanted');
    this.#gauge(registry, 'stafett_workers_running', 'Workers of managed processes that run in the cluster.', 'running');
    this.#gauge(registry, 'stafett_workers_pending', 'Worker slots in the cluster that no node has.', 'pending');
  }

  restarted(count: number): void {
    if (count > 0) this.#restarts.inc(count);
  }

  rebalanced(): void {
    this.#rebalances.inc();
  }

  setWorkers(namespace: string, views: readonly ProcessView[]): void {
    const totals = { wanted: 0, running: 0, pending: 0 };
    for (const [, config, , , running, wanted] of views) {
      totals.wanted += wantedWorkers(config);
      totals.running += running;
      totals.pending += wantedWorkers(config) - wanted;
    }
    this.#totals.set(namespace, totals);
  }

  #gauge(registry: Registry, name: string, help: string, key: keyof Totals): void {
    const totals = this.#totals;
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set([...totals.values()].reduce((sum, each) => sum + each[key], 0));
      },
    });
  }
}
