import type { ContenderSpec } from '../contenders/contender.js';
import type { ScenarioId } from '../harness/job.js';
import type { Results } from '../harness/results.js';

/** A figure that we want to reach; undefined while it could not be measured. */
export interface Target {
  text: string;
  measured: string;
  reached: boolean | undefined;
}

/** How long to measure. */
export interface Pace {
  windowMs: number;
  /** Only to see whether it works. */
  quick: boolean;
}

/** One scenario: its cells, and how its results are shown. */
export interface Scenario {
  id: ScenarioId;
  title: string;
  sizes: readonly number[];
  takesPart(contender: ContenderSpec, size: number): boolean;
  windowMs(contender: ContenderSpec, pace: Pace): number;
  table(results: Results): string;
  targets(results: Results): Target[];
}
