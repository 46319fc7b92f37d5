import type { RunView } from '../../engine/run-commands.js';
import { isFinal, isOver } from './run-views.js';

/**
 * One reader of the states of one run. The engine counts the states; what arrives out of that order waits for what is
 * missing. Of the progress of one run a slow reader gets the latest; every other state is kept for it.
 */
export class RunWatch {
  /** The last state told, by its revision; undefined while that is not known in this epoch. */
  #told: number | undefined;
  #last: RunView | undefined;
  readonly #early = new Map<number, RunView>();
  #states: RunView[] = [];
  #wake: () => void = () => {};
  #failure: Error | undefined;
  #ended = false;

  constructor(readonly ref: string) {}

  /** The state as it is now, from which on the others are told. */
  begin(view: RunView): void {
    if (this.#told === undefined) this.#tell(view);
    this.#tellEarly();
  }

  /** Returns false if states before this one are missing. */
  offer(view: RunView): boolean {
    const [, { rev }] = view;
    if (this.#told !== undefined && rev <= this.#told) return true;
    this.#early.set(rev, view);
    this.#tellEarly();
    return this.#told === undefined || !this.#early.has(rev);
  }

  /** What is missing will not come any more. */
  skip(): void {
    if (this.#told === undefined) return;
    for (const view of [...this.#early.values()].sort(([, a], [, b]) => a.rev - b.rev)) this.#tell(view);
    this.#early.clear();
  }

  /** Redis has lost its data: revisions begin anew. */
  forget(): void {
    this.#told = undefined;
    this.#early.clear();
  }

  end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
  }

  async *states(): AsyncIterable<RunView> {
    while (true) {
      const next = this.#states.shift();
      if (next) yield next;
      else if (this.#failure) throw this.#failure;
      else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  #tellEarly(): void {
    if (this.#told === undefined) return;
    for (const rev of this.#early.keys()) if (rev <= this.#told) this.#early.delete(rev);
    for (let next = this.#early.get(this.#told + 1); next; next = this.#early.get(this.#told + 1)) {
      this.#early.delete(this.#told + 1);
      this.#tell(next);
    }
  }

  #tell(view: RunView): void {
    this.#told = view[1].rev;
    if (this.#ended || (this.#last && isSame(this.#last, view))) return;
    this.#last = view;
    const unread = this.#states.at(-1);
    if (unread && isOnlyProgress(unread, view)) this.#states.pop();
    this.#states.push(view);
    if (isFinal(view)) this.#ended = true;
    this.#wake();
  }
}

/** Of an unread state and the next one of the same run, which goes on, the reader needs but the latter. */
function isOnlyProgress([, before]: RunView, [, after]: RunView): boolean {
  return before.run === after.run && before.status === after.status && !isOver(after.status);
}

/** After a loss of data a run is told again. */
function isSame([, a]: RunView, [, b]: RunView): boolean {
  return a.run === b.run && a.status === b.status && a.percent === b.percent && a.message === b.message && a.cancel === b.cancel;
}
