import type { HistoryRule } from '../config/event-types.js';

/** How much of a channel is kept. A size of 0: nothing. */
export interface HistoryPolicy {
  readonly size: number;
  readonly ageMs: number;
}

export const NO_HISTORY: HistoryPolicy = { size: 0, ageMs: 0 };

/** The policy that the configuration gives to a channel: that of the longest pattern; undefined if there is none. */
export function policyFor(rules: readonly HistoryRule[], channel: string): HistoryPolicy | undefined {
  let best: HistoryRule | undefined;
  for (const rule of rules) {
    const { pattern } = rule;
    const fits = pattern.endsWith('*') ? channel.startsWith(pattern.slice(0, -1)) : channel === pattern;
    if (fits && (best === undefined || pattern.length > best.pattern.length)) best = rule;
  }
  return best;
}
