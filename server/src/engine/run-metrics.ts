import { Counter, Histogram, type Registry } from 'prom-client';
import { RunStatus } from '../gen/stafett/v1/run.js';

/** Types that get a label of their own; those that come later share `other`. */
const TYPES_MAX = 50;

/** How runs end, and how long they took. Each end is counted by the server whose call brought it about. */
export class RunMetrics {
  readonly #types = new Set<string>();
  readonly #ended: Counter<'type' | 'status'>;
  readonly #seconds: Histogram<'type'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#ended = new Counter({ name: 'stafett_runs_ended_total', help: 'Runs that ended.', labelNames: ['type', 'status'], registers });
    this.#seconds = new Histogram({
      name: 'stafett_run_seconds',
      help: 'From the start of a run to its end.',
      labelNames: ['type'],
      buckets: [0.01, 0.1, 1, 5, 15, 60, 300, 1_800, 7_200],
      registers,
    });
  }

  ended(ref: string, status: RunStatus, ms: number): void {
    const type = this.#label(ref.slice(0, ref.indexOf('/')));
    this.#ended.inc({ type, status: RunStatus[status].toLowerCase() });
    if (ms > 0) this.#seconds.observe({ type }, ms / 1000);
  }

  #label(type: string): string {
    if (this.#types.size < TYPES_MAX) this.#types.add(type);
    return this.#types.has(type) ? type : 'other';
  }
}
