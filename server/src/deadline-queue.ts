/** Something that is to happen at a time, unless it is cancelled before. */
export interface Deadline {
  cancel(): void;
}

interface Entry extends Deadline {
  at: number;
  action: (() => void) | undefined;
}

/** Below this many cancelled entries tidying up is not worth it. */
const TIDY_MIN = 1_000;

/** All deadlines of one kind under one timer, on the monotonic clock: a binary heap, so that a million are no trouble. */
export class DeadlineQueue {
  #heap: Entry[] = [];
  #cancelled = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** Runs `action` after `delayMs`, never before. */
  add(delayMs: number, action: () => void): Deadline {
    const entry: Entry = { at: performance.now() + delayMs, action, cancel: () => this.#cancel(entry) };
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1);
    if (entry.at < this.#timerAt) this.#arm();
    return entry;
  }

  /** Forgets all of them. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#heap = [];
  }

  #cancel(entry: Entry): void {
    if (!entry.action) return;
    entry.action = undefined;
    this.#cancelled++;
    if (this.#cancelled > TIDY_MIN && this.#cancelled > this.#heap.length / 2) this.#tidy();
  }

  #tidy(): void {
    this.#heap = this.#heap.filter((entry) => entry.action).sort((a, b) => a.at - b.at); // a sorted array is a heap
    this.#cancelled = 0;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const first = this.#heap[0];
    this.#timerAt = first?.at ?? Number.POSITIVE_INFINITY;
    if (!first) return;
    const delay = Math.min(Math.max(0, Math.ceil(first.at - performance.now())), 2 ** 31 - 1);
    this.#timer = setTimeout(() => this.#run(), delay).unref();
  }

  #run(): void {
    const now = performance.now();
    for (let first = this.#heap[0]; first && first.at <= now; first = this.#heap[0]) {
      this.#pop();
      if (first.action) first.action();
      else this.#cancelled--;
      first.action = undefined;
    }
    this.#arm();
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (!last || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #up(start: number): void {
    const heap = this.#heap;
    for (let i = start; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (at(heap, parent) <= at(heap, i)) return;
      swap(heap, i, parent);
      i = parent;
    }
  }

  #down(start: number): void {
    const heap = this.#heap;
    for (let i = start; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && at(heap, child) < at(heap, least)) least = child;
      if (least === i) return;
      swap(heap, i, least);
      i = least;
    }
  }
}

function at(heap: Entry[], i: number): number {
  return (heap[i] as Entry).at;
}

function swap(heap: Entry[], i: number, j: number): void {
  const entry = heap[i] as Entry;
  heap[i] = heap[j] as Entry;
  heap[j] = entry;
}
