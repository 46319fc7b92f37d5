import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { isAbort, StafettError } from '../rpc/errors.js';

/** Names of calls that get a label of their own; all others share `other`. */
const KNOWN = new Set([
  ...['info', 'gc-stats', 'thread-dump', 'heap-snapshot', 'cpu-profile', 'log-level'],
  ...['caches', 'cache-invalidate', 'settings', 'setting-override'],
]);
/** Seconds. */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300];

/** Calls that came in through this server, and the instances that are connected to it. */
export class InstanceMetrics {
  readonly #calls: Counter<'call' | 'outcome'>;
  readonly #bytes: Counter;
  readonly #seconds: Histogram<'call'>;
  readonly #served: Gauge;
  readonly #running: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#calls = new Counter({
      name: 'stafett_instance_calls_total',
      help: 'Calls to instances that ended, by name and outcome.',
      labelNames: ['call', 'outcome'],
      registers,
    });
    this.#bytes = new Counter({ name: 'stafett_instance_call_bytes_total', help: 'Bytes of answers that callers took.', registers });
    this.#seconds = new Histogram({
      name: 'stafett_instance_call_seconds',
      help: 'How long calls to instances took.',
      labelNames: ['call'],
      buckets: BUCKETS,
      registers,
    });
    this.#served = new Gauge({ name: 'stafett_instances_connected', help: 'Instances that are connected to this server.', registers });
    this.#running = new Gauge({ name: 'stafett_instance_calls_running', help: 'Calls to instances that came in here and run.', registers });
  }

  connected(change: 1 | -1): void {
    this.#served.inc(change);
  }

  began(): void {
    this.#running.inc();
  }

  took(bytes: number): void {
    this.#bytes.inc(bytes);
  }

  ended(name: string, ms: number, complete: boolean, error: unknown): void {
    const call = KNOWN.has(name) ? name : 'other';
    this.#running.dec();
    this.#seconds.observe({ call }, ms / 1000);
    this.#calls.inc({ call, outcome: outcomeOf(complete, error) });
  }
}

function outcomeOf(complete: boolean, error: unknown): string {
  if (complete) return 'OK';
  if (error === undefined || isAbort(error)) return 'CANCELLED';
  return error instanceof StafettError ? ErrorReason[error.reason] : 'INTERNAL';
}
