import fc, { type IAsyncProperty } from 'fast-check';
import type { Command } from '../../server/src/engine/commands.js';
import { type EngineHarness, SERVERS } from '../support/engine-harness.js';
import { ModelRun } from './model-run.js';
import { show } from './violation.js';

/** Contexts that take locks, nested up to this depth, and give them back. */
const DEPTH_MAX = 3;
const MOVES_MAX = 200;
const TTL_MS = 3_600_000;
/** Between two calls. */
const STEP_US = 1_000;

interface Shape {
  readonly contexts: number;
  readonly names: number;
  /** Every session runs so many contexts at once. */
  readonly contextsPerSession: number;
}

/** Who moves next, and a die (0 - 99) and names for what it does. */
interface Move {
  readonly context: number;
  readonly die: number;
  readonly names: number[];
}

export interface Nesting {
  readonly shape: Shape;
  readonly moves: Move[];
}

interface Context {
  readonly sid: string;
  /** Held lock ids and their names, innermost last. */
  readonly stack: { id: string; names: string[] }[];
  waiting: { id: string; names: string[] } | undefined;
}

const shape = fc.record({
  contexts: fc.integer({ min: 3, max: 10 }),
  names: fc.integer({ min: 3, max: 8 }),
  contextsPerSession: fc.integer({ min: 1, max: 3 }),
});
const move = fc.record({
  context: fc.nat({ max: 9 }),
  die: fc.nat({ max: 99 }),
  names: fc.array(fc.nat({ max: 7 }), { minLength: 1, maxLength: 3, size: 'max' }),
});

/**
 * Holds if in every history of contexts that nest their acquires, give up, and let go of everything when they are refused,
 * everybody is served in the end. What is refused, and who passes whom, the model checks.
 */
export function nestingHistory(harness: () => EngineHarness): IAsyncProperty<[Nesting]> {
  return fc.asyncProperty(nesting, (each) => runNesting(harness(), each));
}

/** Calls by random contexts. */
export const nesting: fc.Arbitrary<Nesting> = fc.record({
  shape,
  moves: fc.array(move, { minLength: 10, maxLength: MOVES_MAX, size: 'max' }),
});

export async function runNesting(harness: EngineHarness, { shape, moves }: Nesting, onCall?: ModelRun['onCall']): Promise<void> {
  const contexts = await Contexts.start(harness, shape, onCall);
  for (const each of moves) await contexts.move(each);
  await contexts.finish();
}

class Contexts {
  readonly #run: ModelRun;
  readonly #names: number;
  readonly #contexts: Context[];
  #requests = 0;

  static async start(harness: EngineHarness, shape: Shape, onCall: ModelRun['onCall']): Promise<Contexts> {
    const run = await ModelRun.start(harness, []);
    run.onCall = onCall;
    const contexts = new Contexts(run, shape);
    const sids = new Set(contexts.#contexts.map(({ sid }) => sid));
    for (const sid of sids) await contexts.#call(['open', sid, TTL_MS, '']);
    return contexts;
  }

  private constructor(run: ModelRun, { contexts, names, contextsPerSession }: Shape) {
    this.#run = run;
    this.#names = names;
    const sids = Array.from({ length: contexts }, (_, i) => `s${Math.floor(i / contextsPerSession)}`);
    this.#contexts = sids.map((sid) => ({ sid, stack: [], waiting: undefined }));
  }

  async move({ context: index, die, names }: Move): Promise<void> {
    const context = this.#contexts[index % this.#contexts.length] as Context;
    this.#look(context);
    if (context.waiting) {
      if (die < 3) await this.#giveUp(context);
    } else if (context.stack.length >= DEPTH_MAX || (context.stack.length > 0 && die < 45)) {
      await this.#release(context);
    } else {
      await this.#acquire(
        context,
        names.map((name) => `n${name % this.#names}`),
      );
    }
  }

  /** Those who hold something and wait for nothing let go, until nobody does. */
  async finish(): Promise<void> {
    while (true) {
      for (const context of this.#contexts) this.#look(context);
      const free = this.#contexts.find(({ waiting, stack }) => !waiting && stack.length > 0);
      if (!free) break;
      await this.#release(free);
    }
    const stuck = this.#contexts.flatMap(({ waiting }) => waiting?.id ?? []);
    if (stuck.length > 0) throw this.#run.violation(`never served: ${stuck.join(', ')}`);
  }

  async #acquire(context: Context, asked: string[]): Promise<void> {
    const held = new Set(context.stack.flatMap(({ names }) => names));
    const names = [...new Set(asked)].filter((name) => !held.has(name));
    if (names.length === 0) return; // re-entrant: the client's own affair
    const rid = String(this.#requests++);
    const holds = context.stack.map(({ id }) => id);
    const result = await this.#call(['acquire', context.sid, rid, names, 1, rid, holds.length > 0 && holds, 0]);
    const lock = { id: `${context.sid}.${rid}`, names };
    if (result[0] === 'granted') context.stack.push(lock);
    else if (result[0] === 'queued') context.waiting = lock;
    else if (result[0] === 'deadlock' && holds.length > 0) while (context.stack.length > 0) await this.#release(context);
    else throw this.#run.violation(`${show(names)} got the result ${show(result)}`);
  }

  async #release({ stack }: Context): Promise<void> {
    await this.#call(['release', (stack.pop() as { id: string }).id]);
  }

  async #giveUp(context: Context): Promise<void> {
    await this.#call(['cancel', (context.waiting as { id: string }).id, '']);
    context.waiting = undefined;
  }

  /** Was it served meanwhile? */
  #look(context: Context): void {
    const { waiting } = context;
    if (!waiting || !this.#run.model.acquires.get(waiting.id)?.granted) return;
    context.stack.push(waiting);
    context.waiting = undefined;
  }

  async #call(command: Command): Promise<unknown[]> {
    const server = SERVERS[this.#requests % SERVERS.length] as string;
    this.#run.advance(STEP_US);
    return (await this.#run.callBare(server, [command])).results[0] as unknown[];
  }
}
