import { setTimeout as sleep } from 'node:timers/promises';
import { Rng } from '../support/rng.js';
import { findViolations } from './checker.js';
import { monotonicUs } from './events.js';
import { FAULTS, possibleFaults } from './faults.js';
import { findOverlapsInRedisTime, findOvertakings } from './order.js';
import { World } from './world.js';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Names of FAULTS. Default: all. */
  readonly faults?: readonly string[];
  readonly servers?: number;
  readonly clients?: number;
  /** How long each step of a transaction may take. */
  readonly workMsMax?: number;
  /** How much later than its last look at the lock it may write. */
  readonly stallMsMax?: number;
  readonly fencing?: boolean;
  readonly deadline?: boolean;
  /** Of a sabotaged server. */
  readonly dist?: string;
  progress?(line: string): void;
}

export interface ChaosReport {
  readonly seed: number;
  readonly violations: readonly string[];
  /** How often each was done. */
  readonly faults: ReadonlyMap<string, number>;
  /** Transactions that did all that they had to do. */
  readonly succeeded: number;
  /** How often each reason ended a transaction. */
  readonly failed: ReadonlyMap<string, number>;
  /** From the end of a fault until all clients that lived had finished a transaction again, ms. */
  readonly recoveriesMs: readonly number[];
  readonly lostUpdates: { readonly fenced: number; readonly plain: number };
}

const TTL_MS = 2_000;
/** After the last fault: until a session has run out, and a grace period is over, and a little more. */
const CALM_MS = 2 * TTL_MS + 8_000;
const PROGRESS_EVERY = 5;

/** Hurts a small world for a while, then leaves it in peace, and looks at what happened. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const {
    seed,
    seconds,
    servers = 2,
    clients = 4,
    workMsMax = 10,
    stallMsMax = 10,
    fencing = true,
    deadline = true,
    progress = () => {},
    dist,
  } = options;
  const unknown = (options.faults ?? []).filter((name) => !(name in FAULTS));
  if (unknown.length > 0) throw new Error(`no such fault: ${unknown.join(', ')}; there are ${Object.keys(FAULTS).join(', ')}`);
  const rng = new Rng(seed);
  const world = await World.start({
    rng: rng.fork(),
    servers,
    clients,
    ttlMs: TTL_MS,
    workMsMax,
    stallMsMax,
    fencing,
    deadline,
    ...(dist !== undefined && { dist }),
  });
  const names = options.faults ?? possibleFaults(world);
  const faults = new Map<string, number>();
  const recoveriesMs: number[] = [];
  const violations: string[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    await sleep(rng.int(200, 1_000));
    const chosen = rng.sample(names, rng.chance(0.25) ? 2 : 1);
    for (const name of chosen) faults.set(name, (faults.get(name) ?? 0) + 1);
    await Promise.all(chosen.map((name) => FAULTS[name]?.(world, rng.fork())));
    const recovery = await recover(world);
    if (recovery === undefined) violations.push(await forgotten(world, chosen));
    else recoveriesMs.push(recovery);
    violations.push(...(await lookBack(world)));
    const count = [...faults.values()].reduce((sum, each) => sum + each, 0);
    if (count % PROGRESS_EVERY === 0) progress(`${count} faults, ${world.events.length} events, last recovery ${recovery ?? '–'} ms`);
    if (violations.length > 0) break;
  }
  const lostUpdates = { fenced: await world.lostUpdates('fenced'), plain: await world.lostUpdates('plain') };
  if (violations.length === 0) violations.push(...(await lookBack(world)));
  return { seed, violations, faults, recoveriesMs, lostUpdates, ...outcomes(world) };
}

/** Whatever must not happen, and did so far. */
async function lookBack(world: World): Promise<string[]> {
  const { events, eras } = world;
  const { observations } = world.observer;
  const lost = await world.lostUpdates('fenced');
  return [
    ...findViolations(events),
    ...findOvertakings(observations, events, eras),
    ...findOverlapsInRedisTime(observations, eras),
    ...(lost > 0 ? [`lost updates of the fenced registers: ${lost}`] : []),
  ];
}

/** @returns how long it took, ms, or undefined if it did not happen in time. */
async function recover(world: World): Promise<number | undefined> {
  const since = monotonicUs();
  const deadline = performance.now() + CALM_MS;
  while (performance.now() < deadline) {
    const successes = world.successesSince(since);
    const alive = world.clients.flatMap((client) => client?.name ?? []);
    if (alive.every((name) => successes.has(name))) {
      return Math.round(Math.max(...alive.map((name) => successes.get(name) as number)) / 1_000 - since / 1_000);
    }
    await sleep(20);
  }
  return undefined;
}

/** Who did not go on, and what the servers know of it. */
async function forgotten(world: World, faults: readonly string[]): Promise<string> {
  const successes = world.successesSince(monotonicUs() - CALM_MS * 1_000);
  const idle = world.clients.flatMap((client) => (client && !successes.has(client.name) ? [client.name] : []));
  const locks = await world.lockStates();
  return `forgotten: ${idle.join(', ')} finished no transaction within ${CALM_MS} ms after ${faults.join(' and ')}; ${locks}`;
}

function outcomes({ events }: World): { succeeded: number; failed: Map<string, number> } {
  const failed = new Map<string, number>();
  let succeeded = 0;
  for (const event of events) {
    if (event.kind !== 'done') continue;
    if (event.reason === undefined) succeeded++;
    else failed.set(event.reason, (failed.get(event.reason) ?? 0) + 1);
  }
  return { succeeded, failed };
}

/** For people. */
export function showReport({ seed, violations, faults, succeeded, failed, recoveriesMs, lostUpdates }: ChaosReport): string {
  const sorted = recoveriesMs.toSorted((a, b) => a - b);
  const list = (counts: ReadonlyMap<string, number>) => [...counts].map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
  return [
    `seed ${seed}: ${violations.length === 0 ? 'no violation' : `${violations.length} violations`}`,
    `  faults: ${list(faults)}`,
    `  transactions: ${succeeded} done; not done: ${list(failed)}`,
    `  recovery of all clients after a fault: p50 ${sorted[sorted.length >> 1] ?? '–'} ms, max ${sorted.at(-1) ?? '–'} ms`,
    `  lost updates: fenced registers ${lostUpdates.fenced}, unfenced ${lostUpdates.plain}`,
    ...violations.slice(0, 20).map((violation) => `  VIOLATION ${violation}`),
  ].join('\n');
}
