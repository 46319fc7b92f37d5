import { contenderById } from '../contenders/index.js';
import type { Results } from '../harness/results.js';
import type { Metrics } from '../harness/stats.js';
import { formatNumber, formatTable } from '../harness/table.js';

/** A column: its title and what it shows of a cell. */
export type Column = [title: string, show: (metrics: Metrics, contender: string, size: number) => string];

/** One row for each size and contender; a cell that failed in every run shows dashes. */
export function tableOf(results: Results, sizeTitle: string, columns: readonly Column[]): string {
  const rows = results.sizes().flatMap((size) =>
    results.contendersAt(size).map((contender) => {
      const metrics = results.medians(contender, size);
      const shown = columns.map(([, show]) => (metrics === undefined ? '–' : show(metrics, contender, size)));
      return [contenderById(contender).title, formatNumber(size), ...shown];
    }),
  );
  return formatTable(['', sizeTitle, ...columns.map(([title]) => title)], rows);
}
