import { parseArgs } from 'node:util';
import { contenderById, contenders } from './contenders/index.js';
import type { ScenarioId } from './harness/job.js';
import { scenarioIds } from './scenarios/index.js';

export interface Options {
  scenarios: readonly ScenarioId[];
  contenders: readonly string[];
  /** Only these sizes; empty: all. */
  sizes: readonly number[];
  runs: number;
  warmupMs: number;
  windowMs: number;
  quick: boolean;
  /** File for the raw figures. */
  json?: string;
  /** Directory for CPU profiles of server and clients. */
  profile?: string;
}

export const usage = `npm run bench -- [options]
  --only a,b          scenarios: ${scenarioIds.join(', ')} (default: all)
  --contenders a,b    ${contenders.map((contender) => contender.id).join(', ')} (default: all but stafett-pipeline and relay)
  --sizes 1,512       only these numbers in flight, of waiters or of locks held
  --runs N            runs, of which the median is shown (default 3)
  --seconds S         measured time of a cell (default 3)
  --quick             one run, 1 s a cell: does it work, not how fast
  --json FILE         writes the raw figures of every run
  --profile DIRECTORY writes CPU profiles of the Stafett server and of the client processes (see profile-summary.ts)
  --help`;

/** A wrong command line; the message says what is wrong. */
export class UsageError extends Error {}

const defaults = { runs: 3, seconds: 3, warmupMs: 2000 };
const quickly = { runs: 1, seconds: 1, warmupMs: 500 };

/** Parses the command line; undefined: show the usage. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help === true) return undefined;
  const base = values.quick === true ? quickly : defaults;
  const options: Options = {
    scenarios: list(values.only).map(scenarioId),
    contenders: list(values.contenders),
    sizes: list(values.sizes).map((size) => positive('--sizes', size)),
    runs: values.runs === undefined ? base.runs : Math.ceil(positive('--runs', values.runs)),
    warmupMs: base.warmupMs,
    windowMs: 1000 * (values.seconds === undefined ? base.seconds : positive('--seconds', values.seconds)),
    quick: values.quick === true,
    ...(values.json !== undefined && { json: values.json }),
    ...(values.profile !== undefined && { profile: values.profile }),
  };
  if (options.scenarios.length === 0) options.scenarios = scenarioIds;
  if (options.contenders.length === 0)
    options.contenders = contenders.filter((contender) => contender.onlyWhenNamed !== true).map((contender) => contender.id);
  for (const id of options.contenders) check(() => contenderById(id));
  return options;
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const options = {
    only: text,
    contenders: text,
    sizes: text,
    runs: text,
    seconds: text,
    quick: flag,
    json: text,
    profile: text,
    help: flag,
  };
  return check(() => parseArgs({ args: [...args], options, allowPositionals: false }));
}

export function check<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

export function list(value: string | undefined): string[] {
  return (value ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

export function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`${option}: '${text}' is not a number above 0`);
  return value;
}

function scenarioId(text: string): ScenarioId {
  const found = scenarioIds.find((id) => id === text);
  if (found === undefined) throw new UsageError(`--only: no scenario '${text}'; there are: ${scenarioIds.join(', ')}`);
  return found;
}
