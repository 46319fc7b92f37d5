import type { Registry } from 'prom-client';
import { ClassHistogram } from './class-histogram.js';

/** How long locks are waited for and held, by class. */
export class LockMetrics {
  readonly #waits: ClassHistogram;
  readonly #holds: ClassHistogram;

  constructor(registry: Registry) {
    this.#waits = new ClassHistogram(registry, 'stafett_lock_wait_seconds', 'From asking for a lock to having it.');
    this.#holds = new ClassHistogram(registry, 'stafett_lock_hold_seconds', 'From having a lock to giving it back.');
  }

  waited(name: string, ms: number): void {
    this.#waits.observeLock(name, ms);
  }

  held(name: string, ms: number): void {
    this.#holds.observeLock(name, ms);
  }
}
