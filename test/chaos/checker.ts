import type { ChaosEvent, Told } from './events.js';

/** One grant of one name, for as long as its holder is known to have believed in it, µs. */
interface Hold {
  readonly id: string;
  readonly client: string;
  readonly name: string;
  readonly token: bigint;
  readonly from: number;
  until: number;
}

/** Reasons for which a transaction may fail while servers and networks do. */
const EXPECTED = new Set(['LOCK_LOST', 'DEADLOCK', 'WAIT_TIMEOUT', 'CONNECTION_FAILED', 'GRACE_PERIOD', 'STALE_TOKEN', 'CONTENDED']);

/** Looks for what must never happen, and returns it as sentences. Sound: what it reports did happen. */
export function findViolations(events: readonly Told[]): string[] {
  const holds = holdsOf(events);
  const names = [...new Set(holds.map(({ name }) => name))];
  return [...names.flatMap((name) => checkName(holds.filter((hold) => hold.name === name))), ...unexpectedErrors(events)];
}

function holdsOf(events: readonly Told[]): Hold[] {
  const byId = new Map<string, Hold[]>();
  for (const event of events) {
    if (event.kind === 'granted') byId.set(event.id, toHolds(event));
    if (event.kind === 'held') for (const hold of byId.get(event.id) ?? []) hold.until = Math.max(hold.until, event.at);
  }
  return [...byId.values()].flat();
}

function toHolds({ id, client, at, tokens }: Told<Extract<ChaosEvent, { kind: 'granted' }>>): Hold[] {
  return Object.entries(tokens).map(([name, token]) => ({ id, client, name, token: BigInt(token), from: at, until: at }));
}

function checkName(unsorted: readonly Hold[]): string[] {
  const holds = unsorted.toSorted((a, b) => a.from - b.from);
  const violations: string[] = [];
  let longest: Hold | undefined;
  let highest: Hold | undefined;
  for (const hold of holds) {
    if (longest && longest.until >= hold.from) violations.push(`overlap: ${show(longest)} and ${show(hold)}`);
    if (highest && highest.token >= hold.token) violations.push(`token went back: ${show(highest)}, then ${show(hold)}`);
    if (!longest || hold.until > longest.until) longest = hold;
    if (!highest || hold.token > highest.token) highest = hold;
  }
  return violations;
}

function unexpectedErrors(events: readonly Told[]): string[] {
  return events.flatMap((event) => {
    if (event.kind !== 'done' || event.reason === undefined || EXPECTED.has(event.reason)) return [];
    return [`unexpected error of ${event.client} in ${event.id}: ${event.reason}`];
  });
}

function show({ id, client, name, token, from, until }: Hold): string {
  return `${client} (${id}) had ${name} with token ${token} from ${from} to ${until} µs`;
}
