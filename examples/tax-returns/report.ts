import type { LockView } from '@stafett/client';
import type { Damage } from './audit.js';
import type { PassResult } from './pass.js';

/** The end of the demo: what happened, in figures and for one customer. */

export interface Outcome {
  readonly damage: Damage;
  readonly result: PassResult;
}

export interface Report {
  readonly transactions: number;
  readonly without: Outcome;
  readonly guarded: Outcome;
  readonly handOffs: number;
}

const DAMAGES: readonly [keyof Damage, string][] = [
  ['lostUpdates', 'lost updates'],
  ['brokenJournals', 'customers with broken journals'],
  ['wrongLetters', 'wrong or missing letters'],
  ['openTickets', 'customers with open tickets'],
  ['staleIndexes', 'stale search indexes'],
];

export function table({ transactions, without, guarded, handOffs }: Report): string {
  const { waitsMs, takeovers, finishedForOthers } = guarded.result;
  const waits = [...waitsMs].sort((a, b) => a - b);
  const takeoversMs = takeovers.map(({ ms }) => ms);
  const rows: [string, string, string][] = [
    ['', 'without locks', 'with Stafett'],
    ['transactions', `${transactions}`, `${transactions}`],
    ['took', seconds(without.result.durationMs), seconds(guarded.result.durationMs)],
    ...DAMAGES.map(([key, what]): [string, string, string] => [what, `${without.damage[key]}`, `${guarded.damage[key]}`]),
    ['wait for the lock, p50', '', milliseconds(percentile(waits, 0.5))],
    ['wait for the lock, p99', '', milliseconds(percentile(waits, 0.99))],
    ['hand-offs', '', `${handOffs}`],
    ['takeovers of the killed node', '', `${takeovers.length}, after ${range(takeoversMs)}`],
    ['  finished what it left half done', '', `${finishedForOthers}`],
  ];
  return rows.map(([what, a, b]) => `  ${what.padEnd(34)}${a.padEnd(16)}${b}`.trimEnd()).join('\n');
}

/** Who had the lock, relative to the first hold that is remembered. */
export function story({ name, holder, history }: LockView): string {
  const holds = [...history].reverse();
  const start = holds[0]?.acquireTime.getTime() ?? 0;
  const at = (time: Date) => `${time.getTime() - start} ms`.padStart(9);
  const lines = holds.map(
    (hold) => `  ${at(hold.acquireTime)} – ${at(hold.endTime)}  ${hold.host}  ${hold.purpose.padEnd(18)}${hold.endReason}`,
  );
  if (holder) lines.push(`  ${at(holder.acquireTime)} – ${' '.repeat(9)}  ${holder.host}  ${holder.purpose.padEnd(18)}has it`);
  return [
    `Who had ${name}, when, and how each hold ended (the last ${holds.length} holds, as Stafett told them after the takeover):`,
    ...lines,
  ].join('\n');
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function range(values: readonly number[]): string {
  const [least, most] = [milliseconds(Math.min(...values)), milliseconds(Math.max(...values))];
  return least === most ? least : `${least} to ${most}`;
}

export function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
