import type { ScenarioId } from './job.js';
import { type Metrics, median, medianMetrics } from './stats.js';

/** One measured cell of one run; failed: with an error instead of metrics. */
export interface Measurement {
  scenario: ScenarioId;
  contender: string;
  size: number;
  run: number;
  metrics?: Metrics;
  error?: string;
}

/** What one scenario measured in all runs. */
export class Results {
  constructor(readonly measurements: readonly Measurement[]) {}

  of(scenario: ScenarioId): Results {
    return new Results(this.measurements.filter((measurement) => measurement.scenario === scenario));
  }

  /** The contenders that were measured, or failed, at this size, in the order of the runs. */
  contendersAt(size: number): string[] {
    return [...new Set(this.measurements.filter((m) => m.size === size).map((m) => m.contender))];
  }

  sizes(): number[] {
    return [...new Set(this.measurements.map((measurement) => measurement.size))].sort((a, b) => a - b);
  }

  /** The median of each metric; undefined if no run succeeded. */
  medians(contender: string, size: number): Metrics | undefined {
    const runs = this.cell(contender, size).flatMap((measurement) => (measurement.metrics === undefined ? [] : [measurement.metrics]));
    return runs.length === 0 ? undefined : medianMetrics(runs);
  }

  /** One metric's median; NaN if there is none. */
  median(contender: string, size: number, metric: string): number {
    return this.medians(contender, size)?.[metric] ?? Number.NaN;
  }

  error(contender: string, size: number): string | undefined {
    return this.cell(contender, size).find((measurement) => measurement.error !== undefined)?.error;
  }

  /** How many times the best of the peers a contender's figure is, run by run; the median. NaN without peers. */
  ratio(contender: string, peers: readonly string[], size: number, metric: string, best: 'most' | 'least'): number {
    const choose = best === 'most' ? Math.max : Math.min;
    const ratios = this.cell(contender, size).map(({ run, metrics }) => {
      const rivals = peers.map((peer) => this.cell(peer, size).find((m) => m.run === run)?.metrics?.[metric] ?? Number.NaN);
      const known = rivals.filter((rival) => !Number.isNaN(rival));
      return known.length === 0 ? Number.NaN : (metrics?.[metric] ?? Number.NaN) / choose(...known);
    });
    return median(ratios);
  }

  private cell(contender: string, size: number): Measurement[] {
    return this.measurements.filter((measurement) => measurement.contender === contender && measurement.size === size);
  }
}
