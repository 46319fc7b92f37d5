import type { Command } from '../../server/src/engine/commands.js';
import { type EngineHarness, SERVERS } from '../support/engine-harness.js';
import { ModelRun } from './model-run.js';
import { compare } from './violation.js';

/** Commands by hand, for what random histories seldom meet. */
export interface Scenario {
  readonly name: string;
  readonly commands: readonly Command[];
  /** Whom the last command serves. */
  readonly served: readonly string[];
}

const SID = 's';

function take(rid: string, names: string[], ...context: string[]): Command {
  return ['acquire', SID, rid, names, 1, rid, context.length > 0 && context.map((held) => `${SID}.${held}`), 0];
}

/** `nested`, in the context of `outer`, finds `a` free, and reserved for `head`, which does not wait for this context, yet. */
const RESERVED: readonly Command[] = [
  take('outer', ['o']),
  take('other', ['m']),
  take('first', ['m']),
  take('second', ['m', 'o']),
  take('head', ['a', 'm']),
  take('nested', ['a'], 'outer'),
];

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a nested acquire passes once a waiter between the head and its context has left',
    commands: [...RESERVED, ['cancel', `${SID}.first`, '']],
    served: ['nested'],
  },
  {
    name: 'a nested acquire passes once a waiter between the head and its context is served',
    commands: [...RESERVED, ['release', `${SID}.other`]],
    served: ['first', 'nested'],
  },
  {
    name: 'a nested acquire passes once a holder before the head waits for its context',
    commands: [
      take('outer', ['o']),
      take('other', ['m']),
      take('head', ['a', 'm']),
      take('nested', ['a'], 'outer'),
      take('inner', ['o'], 'other'),
    ],
    served: ['nested'],
  },
  {
    name: 'one nested acquire that passes lets an earlier one pass',
    commands: [
      take('outer-1', ['o1']),
      take('outer-2', ['o2']),
      take('other', ['m']),
      take('third', ['y']),
      take('first', ['m']),
      take('second', ['m', 'o2']),
      take('head-c', ['c', 'm']),
      take('head-a', ['a', 'y']),
      take('nested-1', ['a'], 'outer-1'),
      take('nested-2', ['b', 'c'], 'outer-2'),
      take('next-b', ['b', 'o1']),
      take('inner', ['b'], 'third'),
      ['cancel', `${SID}.first`, ''],
    ],
    served: ['nested-2', 'nested-1'],
  },
];

/** @throws {Violation} */
export async function playScenario(harness: EngineHarness, { commands, served }: Scenario): Promise<void> {
  const run = await ModelRun.start(harness, []);
  const [server] = SERVERS;
  await run.callBare(server, [['open', SID, 60_000, '']]);
  for (const command of commands.slice(0, -1)) {
    const { events } = await run.callBare(server, [command]);
    compare('nobody is served before the end:', [], events);
  }
  const { events } = await run.callBare(server, commands.slice(-1));
  const granted = events.filter(([event]) => event === 'granted').map(([, id]) => id);
  compare('at the end are served', served.map((rid) => `${SID}.${rid}`), granted); // biome-ignore format: short
}
