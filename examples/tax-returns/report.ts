import type { LockView } from '@stafett/client';
import type { Damage } from './audit.js';
import type { PassResult } from './pass.js';

/** The end of the demo: what happened, in figures and for one customer. */

export interface Report {
  readonly transactions: number;
  readonly without: Damage;
  readonly with: Damage;
  readonly result: PassResult;
  readonly handOffs: number | undefined;
}

export function table({ transactions, without, with: guarded, result, handOffs }: Report): string {
  const waits = [...result.waitsMs].sort((a, b) => a - b);
  const rows: [string, string, string][] = [
    ['', 'without locks', 'with Stafett'],
    ['transactions', `${transactions}`, `${transactions}`],
    ['lost updates', `${without.lostUpdates}`, `${guarded.lostUpdates}`],
    ['broken journals', `${without.brokenJournals}`, `${guarded.brokenJournals}`],
    ['wrong or missing letters', `${without.wrongLetters}`, `${guarded.wrongLetters}`],
    ['customers with open tickets', `${without.openTickets}`, `${guarded.openTickets}`],
    ['stale search indexes', `${without.staleIndexes}`, `${guarded.staleIndexes}`],
    ['wait for the lock, p50', '', ms(percentile(waits, 0.5))],
    ['wait for the lock, p99', '', ms(percentile(waits, 0.99))],
    ['hand-offs', '', handOffs === undefined ? 'see the server' : `${handOffs}`],
    ['takeovers after the kill', '', `${result.takeoversMs.length}, the last after ${ms(Math.max(0, ...result.takeoversMs))}`],
  ];
  return rows.map(([what, a, b]) => `  ${what.padEnd(30)}${a.padEnd(16)}${b}`).join('\n');
}

/** Who had the lock, relative to the first hold that is remembered. */
export function story({ name, holder, history }: LockView): string {
  const holds = [...history].reverse();
  const start = holds[0]?.acquireTime.getTime() ?? 0;
  const at = (time: Date) => `${time.getTime() - start} ms`.padStart(9);
  const lines = holds.map(
    (hold) => `  ${at(hold.acquireTime)} – ${at(hold.endTime)}  ${hold.host}  ${hold.purpose.padEnd(18)}${hold.endReason}`,
  );
  if (holder) lines.push(`  ${at(holder.acquireTime)} –            ${holder.host}  ${holder.purpose.padEnd(18)}has it now`);
  return [`Who had ${name}, when, and how each hold ended (as it was right after the takeover):`, ...lines].join('\n');
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}
