import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Command } from '../../server/src/engine/commands.js';
import type { HeldRun, ReportCommand, RunRecord, RunView } from '../../server/src/engine/run-commands.js';
import { RunStatus } from '../../server/src/gen/stafett/v1/run.js';
import { EngineHarness, type HarnessLimits } from '../support/engine-harness.js';
import { testSeed } from '../support/rng.js';
import { PERCENT, RESULT_TTL_MS, RunModel, type RunOp, TTL_MS } from '../support/run-model.js';
import { RUN_SCENARIOS } from './run-scenarios.js';

// The state machine of runs, alone, against a simple model of it, over random histories.

const HISTORIES = Number(process.env.STAFETT_TEST_RUNS ?? 500);
const START_MS = 1_760_000_000_000;
const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 100,
  maxLocksPerSession: 100,
  maxSessions: 100,
  maxNamespaces: 100,
  maxRuns: 100,
  lockRetentionMs: 10_000,
  expireBudget: 300,
};

const sid = fc.constantFrom('s1', 's2', 's3');
const type = fc.constantFrom('x', 'y');
const ref = fc.tuple(type, fc.constantFrom('1', '2', '3')).map(([a, b]) => `${a}/${b}`);
const request = fc.constantFrom('r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8');
const offers = fc.uniqueArray(fc.tuple(type, fc.integer({ min: 1, max: 2 })), { maxLength: 2, selector: ([a]) => a });
const op: fc.Arbitrary<RunOp> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('open' as const, 'open' as const, 'keep' as const, 'close' as const), sid }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('advance' as const), ms: fc.constantFrom(1, 300, 600, TTL_MS, RESULT_TTL_MS) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('start' as const),
      ref,
      sid: fc.oneof(sid, fc.constant('')),
      restart: fc.constantFrom(true, true, true, false),
      request,
      retries: fc.constantFrom(0, 0, 1, 2),
      waitMs: fc.constantFrom(0, 500, 5_000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('report' as const),
      sid,
      ref,
      stale: fc.constantFrom(false, false, false, true),
      what: fc.constantFrom('progress' as const, 'succeeded' as const, 'failed' as const, 'cancelled' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('cancel' as const), ref, stale: fc.constantFrom(false, false, true) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('serve' as const), sid, offers }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unserve' as const), sid }) },
);
const history = fc.array(op, { minLength: 1, maxLength: 40, size: 'max' });

const WATCHER = 'server-2';

class Violation extends Error {}

let harness: EngineHarness;
beforeAll(async () => {
  harness = await EngineHarness.start();
});

/** Plays a history on both, and compares what can be seen after each step. */
class Play {
  readonly #model = new RunModel();
  /** The engine's ids of the runs, which the model numbers. */
  readonly #ids: number[] = [];
  /** The last state of each ref that its watcher was told. */
  readonly #told = new Map<string, number>();

  async step(each: RunOp): Promise<void> {
    const expected = this.#model.apply(each);
    let results: unknown[] = [];
    if (each.op === 'advance') harness.nowUs += each.ms * 1000;
    else results = await this.#look(this.#command(each));
    const [, [, views]] = (await this.#look(['drain'], ['list_runs', '', '', 1_000, 0])) as [unknown, ['runs', RunView[]]];
    this.#register(list(views).map(([, { run }]) => run));
    if (each.op !== 'advance') compare('outcome', await this.#outcome(each, results[0] as unknown[]), expected);
    const shown = list(views).map((view) => this.#show(view));
    compare('state', shown.sort(), this.#model.state());
    for (const [of, { rev }] of list(views)) if (this.#told.has(of)) compare(`states of ${of}`, this.#told.get(of), rev);
    await this.#watch(list(views));
  }

  /** Whatever is new is higher than all before. */
  #register(ids: number[]): void {
    const fresh = ids.filter((id) => !this.#ids.includes(id)).sort((a, b) => a - b);
    if (fresh.some((id) => id <= (this.#ids.at(-1) ?? 0))) throw new Violation('the id of a new run is not higher than those before');
    this.#ids.push(...fresh);
  }

  async #look(...commands: Command[]): Promise<unknown[]> {
    const { results, foreign } = await harness.call('server-1', commands, LIMITS);
    for (const event of foreign.get(WATCHER) ?? []) if (event[0] === 'run') this.#onTold(event[1]);
    return results;
  }

  /** Each state is told, and in order. */
  #onTold([of, { rev }]: RunView): void {
    compare(`the next state of ${of}`, rev, (this.#told.get(of) ?? 0) + 1);
    this.#told.set(of, rev);
  }

  async #watch(views: RunView[]): Promise<void> {
    this.#told.clear();
    for (const [of, { rev }] of views) this.#told.set(of, rev);
    await harness.call(
      WATCHER,
      views.map(([of]): Command => ['watch_run', of, 60_000]),
      LIMITS,
    );
  }

  async #outcome(each: RunOp, [outcome, first, second]: unknown[]): Promise<string> {
    if (outcome === 'run') return this.#show(first as RunView) + (each.op === 'start' ? ` started ${second === 1}` : '');
    if (outcome === 'reported') return `reported ${first === 1}`;
    if (outcome === 'held') return `held ${await this.#held(first as HeldRun[])}`;
    return String(outcome);
  }

  async #held(held: HeldRun[]): Promise<string[]> {
    const found = await this.#look(...list(held).map(([each]): Command => ['get_run', each]));
    return found.map((result) => this.#show((result as ['run', RunView])[1])).sort();
  }

  #command(each: Exclude<RunOp, { op: 'advance' }>): Command {
    switch (each.op) {
      case 'open':
        return ['open', each.sid, TTL_MS, '["","",""]'];
      case 'keep':
        return ['keep', each.sid, 0];
      case 'close':
        return ['close', each.sid];
      case 'start': {
        const { restart, retries, waitMs } = each;
        return ['start_run', each.ref, each.sid, restart ? 1 : 0, each.request, '1', RESULT_TTL_MS, retries, waitMs, 0];
      }
      case 'report':
        return toReport(each.sid, each.ref, this.#id(each), each.what);
      case 'cancel':
        return ['cancel_run', each.ref, this.#id(each)];
      case 'serve':
        return ['serve_runs', each.sid, 'stream', each.offers.flat()];
      case 'unserve':
        return ['unserve_runs', each.sid, 'stream'];
    }
  }

  /** The id of the run that is there, or of another. */
  #id({ ref: of, stale }: { ref: string; stale: boolean }): number {
    const run = this.#model.runs.get(of);
    return stale ? 1 : run ? (this.#ids[run.number - 1] ?? 1) : 2;
  }

  #show([of, run]: RunView): string {
    return show(of, run, this.#ids.indexOf(run.run) + 1);
  }
}

function compare(what: string, engine: unknown, model: unknown): void {
  const [found, wanted] = [JSON.stringify(engine), JSON.stringify(model)];
  if (found !== wanted) throw new Violation(`${what}: the engine says ${found}, the model ${wanted}`);
}

function toReport(by: string, of: string, id: number, what: 'progress' | 'succeeded' | 'failed' | 'cancelled'): ReportCommand {
  if (what === 'progress') return ['report_run', by, of, id, what, PERCENT, 'm'];
  if (what === 'succeeded') return ['report_run', by, of, id, what, '"done"'];
  if (what === 'failed') return ['report_run', by, of, id, what, 'no', ''];
  return ['report_run', by, of, id, what];
}

function show(of: string, { status, sid: by, percent, cancel, attempt, retries }: RunRecord, number: number): string {
  return `${of} #${number} ${RunStatus[status]} by '${by}' ${percent}% cancel ${cancel === 1} attempt ${attempt} left ${retries}`;
}

function list<T>(items: T[]): T[] {
  return Array.isArray(items) ? items : [];
}

async function play(ops: readonly RunOp[]): Promise<void> {
  await harness.reset(START_MS * 1000);
  const both = new Play();
  for (const each of ops) await both.step(each);
}

describe('the state machine of runs', () => {
  it('does what the model says in the scenarios', async () => {
    for (const scenario of RUN_SCENARIOS) await play(scenario);
  });

  it(`does what the model says in ${HISTORIES} random histories`, { timeout: 300_000 }, async () => {
    await fc.assert(fc.asyncProperty(history, play), { numRuns: HISTORIES, seed: testSeed() });
  });
});

const BUGS: [what: string, find: string, replace: string][] = [
  ['a second run is started', 'or not runs.isOver(known)) then', 'or false) then'],
  ['a stale report is taken', 'if not own or runs.isOver(run)', 'if not run or runs.isOver(run)'],
  ['a report into a run that is over is taken', 'if not own or runs.isOver(run)', 'if not own or false'],
  ['a run outlives its session', 'budget = runs.endSession(sid, how, budget)', ''],
  ['a lost run is not restarted', 'if run.retries == 0 or run.cancel == 1', 'if true'],
  ['a lost run is restarted for ever', 'retries = run.retries - 1', 'retries = run.retries'],
  ['a lost run is restarted though it was cancelled', 'if run.retries == 0 or run.cancel == 1', 'if run.retries == 0'],
  ['a repetition starts again', 'local same = known and known.request == request', 'local same = false'],
  ['the busiest comes first', "call('SCARD', P .. 'runs:' .. sid) + last", "-call('SCARD', P .. 'runs:' .. sid) + last"],
  ['more than the concurrency', 'if busy < tonumber(offers[i + 1]) then', 'if true then'],
  ['nobody takes what waits when a run ends', 'if wasRunning then runs.assign(runs.typeOf(ref)) end', ''],
  ['a result is kept for ever', 'run.forget > NOW then return run', 'true then return run'],
  ['a result is counted from the start', 'NOW, NOW + run.ttl', 'NOW, run.asked + run.ttl'],
  ['nobody gives up to wait', 'local wait = runs.giveUpWaiting()', 'local wait = 0'],
  ['a cancel hits a later run', '(id ~= 0 and id ~= run.run)', 'false'],
  ['a state is not told', "if untilTime > NOW then tell(server, {'run'", "if run.rev % 5 > 0 then tell(server, {'run'"],
];

describe('a planted bug is found:', () => {
  it.each(BUGS)('%s', async (_, find, replace) => {
    await harness.load([{ find, replace }]);
    const played = async () => {
      for (const scenario of RUN_SCENARIOS) await play(scenario);
    };
    await expect(played()).rejects.toBeInstanceOf(Violation);
  });
});
