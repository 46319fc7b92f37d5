import { Crowd, type Placed } from '../crowd.js';
import type { AcquireListener, Pending } from './pending-acquire.js';
import type { RunPlan } from './runs.js';

/** Told how the acquires of a run went. */
export interface RunListener {
  /** Told once, when the engine has answered all of them: which were granted at once, and by which tokens. Times are Redis' clock, ms. */
  answered(offsets: readonly number[], tokens: readonly number[], since: number, deadline: number): void;
  /** Who is told of one that has an answer of its own, before `answered` or after it. */
  alone(offset: number): AcquireListener;
}

/** Acquires on their way to the engine and back, together. */
export interface AcquireRun extends Placed {
  readonly plan: RunPlan;
  readonly listener: RunListener;
  /** The how manieth the first of them is. */
  readonly order: number;
  readonly startedAt: number;
  /** What those take that are not apart, as they were admitted. */
  bytes: number;
  count: number;
  /** Those that have become acquires like any other, by their offset. */
  apart: Map<number, Pending> | undefined;
}

/** The runs under way. */
export class AcquireRuns {
  readonly #runs = new Crowd<AcquireRun>();

  get size(): number {
    return this.#runs.size;
  }

  add(run: AcquireRun): void {
    this.#runs.add(run);
  }

  delete(run: AcquireRun): void {
    this.#runs.delete(run);
  }

  all(): AcquireRun[] {
    return this.#runs.all();
  }

  /** Where the acquire is. There are few runs at a time, and few who ask. */
  find(lockId: string): [run: AcquireRun, offset: number] | undefined {
    if (this.size === 0) return undefined;
    const dot = lockId.indexOf('.');
    const request = Number(lockId.slice(dot + 1));
    if (String(request) !== lockId.slice(dot + 1)) return undefined;
    for (const run of this.all()) {
      const { sid, firstRequest, names } = run.plan;
      const offset = request - firstRequest;
      if (offset >= 0 && offset < names.length && sid.length === dot && lockId.startsWith(sid)) return [run, offset];
    }
    return undefined;
  }
}
