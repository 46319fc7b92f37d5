import type { Endpoints } from '../contenders/contender.js';
import type { Metrics } from './stats.js';

export type ScenarioId = 'uncontended' | 'handoff' | 'holding';

/** One cell of a table, once: what a child process is told to do. */
export interface Job {
  scenario: ScenarioId;
  contender: string;
  /** In flight, waiters or locks held. */
  size: number;
  /** Lock names begin so; different for each job, since nothing is flushed in between. */
  prefix: string;
  warmupMs: number;
  windowMs: number;
  endpoints: Endpoints;
}

/** Marks the beginning and the end of the measured window; resolves when the bench has read its counters. */
export type Mark = () => Promise<void>;

export type FromWorker = { type: 'mark' } | { type: 'result'; metrics: Metrics } | { type: 'error'; message: string };
export type ToWorker = { type: 'job'; job: Job } | { type: 'go' };
