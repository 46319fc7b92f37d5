import { Histogram, type Registry } from 'prom-client';

/** Classes that get a label of their own; those that come later share `other`. */
const CLASSES_MAX = 50;
const BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300];

type Child = { observe(value: number): void };

/** How long locks are waited for and held, by class: a name's first segment, as `customer` of `customer/42`. */
export class LockMetrics {
  readonly #waits: (name: string) => Child;
  readonly #holds: (name: string) => Child;

  constructor(registry: Registry) {
    this.#waits = byClass(registry, 'stafett_lock_wait_seconds', 'From asking for a lock to having it.');
    this.#holds = byClass(registry, 'stafett_lock_hold_seconds', 'From having a lock to giving it back.');
  }

  waited(name: string, ms: number): void {
    this.#waits(name).observe(ms / 1000);
  }

  held(name: string, ms: number): void {
    this.#holds(name).observe(ms / 1000);
  }
}

function byClass(registry: Registry, name: string, help: string): (lockName: string) => Child {
  const histogram = new Histogram({ name, help, labelNames: ['class'], buckets: BUCKETS, registers: [registry] });
  const children = new Map<string, Child>();
  const childOf = (label: string) => {
    const child = children.get(label) ?? histogram.labels(label);
    children.set(label, child);
    return child;
  };
  return (lockName) => {
    const slash = lockName.indexOf('/');
    if (slash <= 0) return childOf('none');
    const label = lockName.slice(0, slash);
    return children.has(label) || children.size < CLASSES_MAX ? childOf(label) : childOf('other');
  };
}
