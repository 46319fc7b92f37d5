import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { EndReason, type Grant } from '../../../server/src/gen/stafett/v1/lock.js';
import { eventually } from '../../support/eventually.js';
import type { HistoryEvent } from '../../support/history-checker.js';
import type { Rng } from '../../support/rng.js';
import type { StubClient } from '../../support/stub-client.js';
import { toMs } from '../../support/stub-duration.js';
import { StubError } from '../../support/stub-error.js';
import type { StubPipeline } from '../../support/stub-pipeline.js';
import type { StubSession } from '../../support/stub-session.js';
import type { StubWatch } from '../../support/stub-watch.js';

const DEPTH_MAX = 3;
const WAIT_MS = 30_000;
/** Some wait only so long. */
const IMPATIENT_MS = 15;
const HOLD_MS_MAX = 4;

/** One call context: what it holds, innermost last, and what it waits for. */
interface Runner {
  readonly pipeline: StubPipeline;
  readonly session: StubSession;
  readonly rng: Rng;
  readonly stack: Grant[];
  waitsFor: readonly string[] | undefined;
}

/** Random work on few names: acquires of one or more, nested ones, impatient ones. Records what happens. */
export class Relay {
  readonly events: HistoryEvent[] = [];
  readonly counts = { grants: 0, nested: 0, deadlocks: 0, gaveUp: 0 };
  readonly #names: readonly string[];
  readonly #runners: Runner[] = [];
  /** Who holds what, as the clients know. */
  readonly #holders = new Map<string, Runner>();
  readonly #tokens = new Map<string, Runner>();
  #requests = 0;

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  async join(client: StubClient, rng: Rng): Promise<void> {
    const session = await client.openSession();
    this.#runners.push({ pipeline: client.pipeline(), session, rng, stack: [], waitsFor: undefined });
  }

  /** Runs for so long, and until everybody has what it waits for and has given back all of it. */
  async run(ms: number): Promise<void> {
    const until = performance.now() + ms;
    const runAll = async (runner: Runner) => {
      while (performance.now() < until) await this.#work(runner);
    };
    await Promise.all(this.#runners.map(runAll));
  }

  /** Adds the ends of all grants, in Redis' time. @param watch has watched all names from the beginning. */
  async addEnds(watch: StubWatch): Promise<void> {
    const ids = new Map(this.events.flatMap((event) => (event.kind === 'granted' ? [[event.token, event.id]] : [])));
    const ends = () => new Map(watch.unlocks.map(({ previous }) => [previous?.fencingToken as bigint, previous]));
    await eventually('all unlocks to be told', () => ends().size === ids.size);
    for (const [token, previous] of ends()) {
      expect(previous?.endReason).toBe(EndReason.RELEASED);
      this.events.push({ kind: 'ended', id: ids.get(token) as string, at: toMs(previous?.endTime), how: 'RELEASED' });
    }
  }

  /** Takes some names, perhaps more within, and gives them back. */
  async #work(runner: Runner): Promise<void> {
    const { rng, stack } = runner;
    const held = new Set(stack.flatMap(({ names }) => names));
    const names = rng.sample(this.#names, rng.pick([1, 1, 1, 1, 2, 3])).filter((name) => !held.has(name));
    const grant = names.length > 0 ? await this.#acquire(runner, names) : undefined;
    if (!grant) return;
    try {
      if (rng.chance(0.5)) await sleep(rng.int(0, HOLD_MS_MAX));
      if (stack.length < DEPTH_MAX && rng.chance(0.3)) await this.#work(runner);
    } finally {
      await this.#release(runner, grant);
    }
  }

  async #acquire(runner: Runner, names: string[]): Promise<Grant | undefined> {
    const { session, stack, pipeline, rng } = runner;
    const requestId = `r${++this.#requests}`;
    const nested = stack.length > 0;
    const waitMs = !nested && rng.chance(0.05) ? IMPATIENT_MS : WAIT_MS;
    const at = Date.now();
    runner.waitsFor = names;
    const asked = pipeline.acquire(names, { session, waitMs, requestId, held: stack });
    // Commands of a message are carried out in their order: when this is answered, the acquire has queued.
    const queued = pipeline.cancel('nothing', session).then(() => Date.now());
    try {
      const { grant } = await asked;
      this.events.push({ kind: 'requested', id: requestId, names, at, queuedBy: await queued, nested });
      if (grant) this.#granted(runner, requestId, grant, nested);
      else this.#leave(requestId, at + waitMs, waitMs);
      return grant;
    } catch (error) {
      await this.#expectCycle(runner, names, error);
      this.counts.deadlocks++;
      return undefined;
    } finally {
      runner.waitsFor = undefined;
    }
  }

  #granted(runner: Runner, id: string, grant: Grant, nested: boolean): void {
    this.counts.grants++;
    if (nested) this.counts.nested++;
    for (const name of grant.names) {
      expect(this.#holders.get(name), `${name} is granted while another client holds it`).toBeUndefined();
      this.#holders.set(name, runner);
    }
    this.#tokens.set(String(grant.fencingToken), runner);
    runner.stack.push(grant);
    this.events.push({ kind: 'granted', id, names: grant.names, token: grant.fencingToken, at: toMs(grant.acquireTime) });
  }

  /** Only the impatient leave, and not before their time. */
  #leave(id: string, at: number, waitMs: number): void {
    expect(waitMs).toBe(IMPATIENT_MS);
    this.counts.gaveUp++;
    this.events.push({ kind: 'left', id, at });
  }

  async #release(runner: Runner, grant: Grant): Promise<void> {
    runner.stack.splice(runner.stack.indexOf(grant), 1);
    for (const name of grant.names) this.#holders.delete(name);
    await runner.pipeline.release(grant);
  }

  /**
   * Only true cycles are refused: each of the cycle holds a name that the one before it waits for, and the last is the
   * refused one. As long as that does not let go the others cannot go on, so there is time to look.
   */
  async #expectCycle(refused: Runner, names: readonly string[], error: unknown): Promise<void> {
    if (!(error instanceof StubError) || error.reason !== 'DEADLOCK') throw error;
    const cycle = JSON.parse(error.metadata.cycle ?? '') as { name: string; fencingToken: string }[];
    await eventually(`the cycle to be one: ${error.message}`, () => {
      let wanted = names;
      for (const { name, fencingToken } of cycle) {
        const holder = this.#tokens.get(fencingToken) as Runner;
        expect(wanted).toContain(name);
        expect(this.#holders.get(name)).toBe(holder);
        wanted = holder === refused ? [] : (holder.waitsFor ?? []);
      }
      expect(this.#tokens.get(cycle.at(-1)?.fencingToken ?? '')).toBe(refused);
    });
  }
}
