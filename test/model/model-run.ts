import type { Command } from '../../server/src/engine/commands.js';
import { type EngineHarness, type HarnessLimits, Mismatch, type Observed, SERVERS } from '../support/engine-harness.js';
import { isLease, type LockModel } from '../support/lock-model.js';
import { Chronicle } from './chronicle.js';
import { compare, show, Violation } from './violation.js';

export const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 100,
  maxLocksPerSession: 100,
  maxSessions: 100,
  maxNamespaces: 100,
  maxRuns: 100,
  lockRetentionMs: 10_000,
  expireBudget: 300,
};

const START_US = 1_760_000_000_123_456;
/** Lines of the log shown with a violation, the last ones. */
const LINES_SHOWN = 120;

/** One life of a namespace, in the engine and in the model side by side. */
export class ModelRun {
  #chronicle = new Chronicle();
  /** Told of each call that was as it should be. */
  onCall: ((commands: readonly Command[], observed: Observed) => void) | undefined;
  /** The highest token that each server has seen. */
  readonly #seen = new Map<string, number>();
  readonly #log: string[] = [];

  static async start(harness: EngineHarness, names: readonly string[], limits: Partial<HarnessLimits> = {}): Promise<ModelRun> {
    await harness.reset(START_US);
    const run = new ModelRun(harness, names, { ...LIMITS, ...limits });
    run.model.now = run.now;
    return run;
  }

  private constructor(
    readonly harness: EngineHarness,
    readonly names: readonly string[],
    readonly limits: HarnessLimits,
  ) {}

  get model(): LockModel {
    return this.#chronicle.model;
  }

  /** ms */
  get now(): number {
    return Math.floor(this.harness.nowUs / 1000);
  }

  advance(us: number): void {
    if (us === 0) return;
    this.harness.nowUs += us;
    this.#log.push(`+ ${us / 1000} ms`);
  }

  /**
   * Carries out the commands in one call, and compares everything that can be seen with the model.
   * @throws {Violation} with all that led to it.
   */
  async call(server: string, commands: readonly Command[]): Promise<Observed> {
    const reads: Command[] = [...this.names.map((name): Command => ['inspect', name]), ['sessions', '', 100]];
    if (commands.some(([verb]) => verb === 'sweep')) reads.push(['list', '', '', 100, 0]);
    return this.callBare(server, [...commands, ...reads], commands.length);
  }

  /** The same without looking at every name; the model still follows. */
  async callBare(server: string, commands: readonly Command[], shown = commands.length): Promise<Observed> {
    const seen = this.#seen.get(server) ?? 0;
    const call = { server, commands, limits: this.limits, nowUs: this.harness.nowUs, seen, undrained: this.harness.undrained(server) };
    this.#log.push(`${server}: ${commands.slice(0, shown).map(show).join(' ')}`);
    try {
      const observed = await this.harness.call(server, commands, this.limits, seen);
      this.#log.push(`  -> ${show(observed.results.slice(0, shown))} ${show(observed.events)} ${show([...observed.foreign])}`);
      this.#seen.set(server, Math.max(seen, observed.seq));
      this.#chronicle.add(call, observed);
      this.onCall?.(commands.slice(0, shown), observed);
      return observed;
    } catch (error) {
      throw this.#explained(error as Error);
    }
  }

  /** Redis forgets everything, and its clock goes back. The servers still know what they have seen. */
  async lose(backUs: number): Promise<void> {
    await this.harness.reset(this.harness.nowUs - backUs);
    this.#chronicle = new Chronicle();
    this.#log.push('Redis forgets everything');
  }

  /** Ends all that is left, lets the retention pass, and looks for what was left behind. */
  async tearDown(): Promise<void> {
    const [server, other] = SERVERS;
    const every2nd = [...this.model.acquires.values()].reverse().filter((_, i) => i % 2 === 0);
    await this.call(
      server,
      every2nd.map(({ id, granted }) => (granted ? ['release', id] : ['cancel', id, ''])),
    );
    const sids = [...this.model.sessions.keys()].filter((sid) => !isLease(sid));
    await this.callBare(
      other,
      sids.map((sid): Command => ['keep', sid, 0]),
    );
    for (const sid of sids.slice(1)) await this.callBare(other, [['close', sid]]);
    for (const waitMs of [60_000, this.limits.lockRetentionMs, this.limits.lockRetentionMs]) {
      this.advance(waitMs * 1000);
      while ((await this.callBare(server, [['drain']])).more);
      await this.callBare(server, [['sweep']]);
    }
    try {
      compare('the keys that last are', [], await this.harness.lastingKeys());
      compare('at the end the model has', [0, 0, 0], [this.model.acquires.size, this.model.sessions.size, this.model.locks.size]);
      compare('at the end the namespace counts', { held: 0, waiting: 0 }, this.model.counts());
    } catch (error) {
      throw this.#explained(error as Error);
    }
  }

  #explained(error: Error): Error {
    const violation = this.violation(error.message, error);
    const isFound = error instanceof Violation || error instanceof Mismatch;
    return isFound ? violation : new Error(violation.message, { cause: error }); // e.g. a script that fails
  }

  /** With all that led to it. */
  violation(message: string, cause?: unknown): Violation {
    const log = this.#log.slice(-LINES_SHOWN);
    return new Violation([message, 'after', ...(log.length < this.#log.length ? ['...'] : []), ...log].join('\n'), { cause });
  }
}
