import { setTimeout as sleep } from 'node:timers/promises';
import type { CacheChecker } from '../support/cache-checker.js';
import { Rng } from '../support/rng.js';
import { showStaleReads, startCaches } from './caches.js';
import { findViolations } from './checker.js';
import { monotonicUs, type Told } from './events.js';
import { ENDS_SERVERS, FAULTS, faultsOf, possibleFaults } from './faults.js';
import { findBehind, findGaps, findSettingsThatWentBack } from './news-checker.js';
import { findOverlapsInRedisTime, findOvertakings } from './order.js';
import { describeScene } from './scene.js';
import type { SiteKind } from './site.js';
import { World } from './world.js';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  /** What keeps the servers' state. Default: a single one. */
  readonly redis?: SiteKind;
  /** Names of FAULTS. Default: all. */
  readonly faults?: readonly string[];
  /** All of them at once, instead of one or two at random. */
  readonly together?: boolean;
  readonly servers?: number;
  readonly clients?: number;
  /** Transactions of a client at once. Default 3. */
  readonly lanes?: number;
  /** How long each step of a transaction may take. */
  readonly workMsMax?: number;
  /** How much later than its last look at the lock it may write. */
  readonly stallMsMax?: number;
  readonly fencing?: boolean;
  readonly deadline?: boolean;
  /** False: locks only, for more of them. */
  readonly news?: boolean;
  /** Of a sabotaged server. */
  readonly dist?: string;
  progress?(line: string): void;
}

export interface ChaosReport {
  readonly seed: number;
  readonly violations: readonly string[];
  /** For people: what all knew when somebody did not get on. */
  readonly scene: readonly string[];
  /** How often each was done. */
  readonly faults: ReadonlyMap<string, number>;
  /** Those of the last rounds, in their order: what was violated was so in or after them. */
  readonly lastFaults: readonly string[];
  /** Transactions that did all that they had to do. */
  readonly succeeded: number;
  /** How often each reason ended a transaction. */
  readonly failed: ReadonlyMap<string, number>;
  /** From the end of a fault until all clients that lived had finished a transaction again, ms. */
  readonly recoveriesMs: readonly number[];
  readonly lostUpdates: { readonly fenced: number; readonly plain: number };
  /** How much there was to be checked of events, settings and caches. */
  readonly checked: Readonly<Record<string, number>>;
}

const TTL_MS = 2_000;
/** After the last fault: until a session has run out, and a grace period is over, and a little more. */
const CALM_MS = 2 * TTL_MS + 8_000;
const PROGRESS_EVERY = 5;
const ROUNDS_SHOWN = 4;

/** Hurts a small world for a while, then leaves it in peace, and looks at what happened. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const {
    seed,
    seconds,
    redis = 'single',
    servers = 2,
    clients = 4,
    lanes = 3,
    workMsMax = 10,
    stallMsMax = 10,
    fencing = true,
    deadline = true,
    news = true,
    progress = () => {},
    dist,
  } = options;
  const possible = faultsOf(redis);
  const unknown = (options.faults ?? []).filter((name) => !possible.includes(name));
  if (unknown.length > 0) throw new Error(`no such fault: ${unknown.join(', ')}; there are ${possible.join(', ')}`);
  const rng = new Rng(seed);
  const world = await World.start({
    rng: rng.fork(),
    redis,
    servers,
    clients,
    lanes,
    ttlMs: TTL_MS,
    workMsMax,
    stallMsMax,
    fencing,
    deadline,
    news,
    ...(dist !== undefined && { dist }),
  });
  const caches = await startCaches(world, rng.fork());
  const names = options.faults ?? possibleFaults(world);
  const faults = new Map<string, number>();
  const rounds: string[] = [];
  const recoveriesMs: number[] = [];
  const violations: string[] = [];
  const scene: string[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    await sleep(rng.int(200, 1_000));
    const chosen = options.together ? names : rng.sample(names, rng.chance(0.25) ? 2 : 1);
    for (const name of chosen) faults.set(name, (faults.get(name) ?? 0) + 1);
    rounds.push(chosen.join(' and '));
    await hurt(world, chosen, rng);
    const recovery = await recover(world);
    if (recovery === undefined) {
      violations.push(await forgotten(world, chosen));
      scene.push(...(await describeScene(world)));
    } else recoveriesMs.push(recovery);
    violations.push(...(await lookBack(world, caches)));
    const count = [...faults.values()].reduce((sum, each) => sum + each, 0);
    if (count % PROGRESS_EVERY === 0) progress(`${count} faults, ${world.events.length} events, last recovery ${recovery ?? '–'} ms`);
    if (violations.length > 0) break;
  }
  const lostUpdates = { fenced: await world.lostUpdates('fenced'), plain: await world.lostUpdates('plain') };
  if (violations.length === 0) violations.push(...(await lookBack(world, caches)));
  caches.stop();
  const checked = { ...countNews(world), 'cache reads': caches.reads, 'cache writes': caches.writes };
  return {
    seed,
    violations,
    scene,
    faults,
    lastFaults: rounds.slice(-ROUNDS_SHOWN),
    recoveriesMs,
    lostUpdates,
    checked,
    ...outcomes(world),
  };
}

async function hurt(world: World, faults: readonly string[], rng: Rng): Promise<void> {
  const from = monotonicUs();
  await Promise.all(faults.map((name) => FAULTS[name]?.(world, rng.fork())));
  const era = world.eras.at(-1);
  if (era && era.to > from && faults.some((name) => ENDS_SERVERS.has(name))) world.losses.push({ from, to: era.to });
}

/** Whatever must not happen, and did so far. */
async function lookBack(world: World, caches: CacheChecker): Promise<string[]> {
  const { events, eras, losses } = world;
  const { observations } = world.observer;
  const lost = await world.lostUpdates('fenced');
  return [
    ...findViolations(events),
    ...findOvertakings(observations, events, eras),
    ...findOverlapsInRedisTime(observations, eras),
    ...findGaps(events),
    ...findSettingsThatWentBack(events, losses),
    ...showStaleReads(caches),
    ...(lost > 0 ? [`lost updates of the fenced registers: ${lost}`] : []),
  ];
}

/** @returns how long it took, ms, or undefined if it did not happen in time. */
async function recover(world: World): Promise<number | undefined> {
  const since = monotonicUs();
  const deadline = performance.now() + CALM_MS;
  while (performance.now() < deadline) {
    const successes = world.successesSince(since);
    const alive = namesOf(world);
    if (alive.every((name) => successes.has(name)) && behind(world, since).length === 0) {
      return Math.round(Math.max(...alive.map((name) => successes.get(name) as number)) / 1_000 - since / 1_000);
    }
    await sleep(20);
  }
  return undefined;
}

/** Who has not heard or read what all should know again. */
function behind(world: World, since: number): string[] {
  return world.options.news ? findBehind(world.events, namesOf(world), since, world.losses) : [];
}

function namesOf({ clients }: World): string[] {
  return clients.flatMap((client) => client?.name ?? []);
}

/** Who did not go on, and what the servers know of it. */
async function forgotten(world: World, faults: readonly string[]): Promise<string> {
  const since = monotonicUs() - CALM_MS * 1_000;
  const successes = world.successesSince(since);
  const idle = namesOf(world).filter((name) => !successes.has(name));
  const what = [...(idle.length > 0 ? [`${idle.join(', ')} finished no transaction`] : []), ...behind(world, since)].join('; ');
  const locks = await world.lockStates();
  return `forgotten: ${what} within ${CALM_MS} ms after ${faults.join(' and ')}; ${locks}`;
}

function countNews({ events }: World): Record<string, number> {
  const count = (is: (event: Told) => boolean) => events.filter(is).length;
  return {
    published: count(({ kind }) => kind === 'published'),
    heard: count(({ kind }) => kind === 'heard'),
    'gaps told': count((event) => event.kind === 'subscribed' && !event.recovered),
    recovered: count((event) => event.kind === 'subscribed' && event.recovered),
    set: count(({ kind }) => kind === 'set'),
    read: count(({ kind }) => kind === 'read'),
  };
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
export function showReport({
  seed,
  violations,
  scene,
  faults,
  lastFaults,
  succeeded,
  failed,
  recoveriesMs,
  lostUpdates,
  checked,
}: ChaosReport): string {
  const sorted = recoveriesMs.toSorted((a, b) => a - b);
  const list = (counts: ReadonlyMap<string, number>) => [...counts].map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
  return [
    `seed ${seed}: ${violations.length === 0 ? 'no violation' : `${violations.length} violations`}`,
    `  faults: ${list(faults)}`,
    `  transactions: ${succeeded} done; not done: ${list(failed)}`,
    `  recovery of all clients after a fault: p50 ${sorted[sorted.length >> 1] ?? '–'} ms, max ${sorted.at(-1) ?? '–'} ms`,
    `  lost updates: fenced registers ${lostUpdates.fenced}, unfenced ${lostUpdates.plain}`,
    `  events, settings and caches: ${list(new Map(Object.entries(checked)))}`,
    ...(violations.length > 0 ? [`  the last faults: ${lastFaults.join('; ')}`] : []),
    ...violations.slice(0, 20).map((violation) => `  VIOLATION ${violation}`),
    ...scene.map((part) => `  ${part}`),
  ].join('\n');
}
