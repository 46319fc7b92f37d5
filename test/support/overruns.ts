import type { ToldWorkerEvent } from './node-process.js';

/** One worker, for as long as it is known to have worked, µs. */
export interface WorkerRun {
  readonly node: string;
  readonly slot: number;
  readonly token: string;
  readonly from: number;
  readonly until: number;
}

/** From what workers told of themselves. */
export function toRuns(events: readonly ToldWorkerEvent[]): WorkerRun[] {
  const runs = new Map<string, { -readonly [K in keyof WorkerRun]: WorkerRun[K] }>();
  for (const event of events) {
    if (event.kind === 'ready') continue;
    const { node, slot, token, at } = event;
    const id = `${node} ${slot} ${token}`;
    const run = runs.get(id) ?? { node, slot, token, from: at, until: at };
    run.until = Math.max(run.until, at);
    runs.set(id, run);
  }
  return [...runs.values()].sort((a, b) => a.from - b.from);
}

/** Looks for what must never happen, and returns it as sentences. Sound: what it reports did happen. */
export function findOverruns(events: readonly ToldWorkerEvent[], workers: number): string[] {
  const runs = toRuns(events);
  const violations: string[] = [];
  for (const [i, run] of runs.entries()) {
    const beside = runs.slice(0, i).filter((other) => other.until > run.from);
    for (const other of beside) {
      if (other.slot === run.slot) violations.push(`slot ${run.slot} twice: ${show(other)} and ${show(run)}`);
    }
    if (beside.length + 1 > workers)
      violations.push(`${beside.length + 1} workers at once, not ${workers}: ${[...beside, run].map(show).join('; ')}`);
    const later = runs.slice(0, i).find((other) => other.slot === run.slot && BigInt(other.token) >= BigInt(run.token));
    if (later) violations.push(`token went back in slot ${run.slot}: ${show(later)}, then ${show(run)}`);
  }
  return violations;
}

function show({ node, slot, token, from, until }: WorkerRun): string {
  return `${node} slot ${slot} token ${token} from ${from} to ${until}`;
}
