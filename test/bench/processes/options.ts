import { parseArgs } from 'node:util';
import { check, list, positive, UsageError } from '../options.js';

export const partIds = ['takeover', 'starts', 'progress'] as const;
export type PartId = (typeof partIds)[number];

export interface Options {
  readonly parts: readonly PartId[];
  /** Managed processes, their nodes, and the workers of each process. */
  readonly processes: number;
  readonly nodes: number;
  readonly workers: number;
  /** Of each cell of a table. */
  readonly windowMs: number;
}

export const usage = `npm run bench:processes -- [options]
  --only a,b       parts: ${partIds.join(', ')} (default: all)
  --processes N    managed processes of the takeover (default 1000)
  --nodes N        nodes, each of which takes part in all of them (default 20)
  --workers N      workers of each process (default 4)
  --seconds S      measured time of a cell (default 1)
  --help`;

/** Parses the command line; undefined: show the usage. @throws {UsageError} */
export function parseOptions(args: readonly string[]): Options | undefined {
  const text = { type: 'string' } as const;
  const options = { only: text, processes: text, nodes: text, workers: text, seconds: text, help: { type: 'boolean' } } as const;
  const { values } = check(() => parseArgs({ args: [...args], options, allowPositionals: false }));
  if (values.help) return undefined;
  const count = (name: 'processes' | 'nodes' | 'workers', preset: string) => Math.ceil(positive(`--${name}`, values[name] ?? preset));
  const parts = list(values.only).map(toPart);
  const nodes = count('nodes', '20');
  if (nodes < 2) throw new UsageError('--nodes: at least 2: one dies, and somebody has to take over');
  return {
    parts: parts.length > 0 ? parts : partIds,
    processes: count('processes', '1000'),
    nodes,
    workers: count('workers', '4'),
    windowMs: 1000 * positive('--seconds', values.seconds ?? '1'),
  };
}

function toPart(text: string): PartId {
  const found = partIds.find((id) => id === text);
  if (found === undefined) throw new UsageError(`--only: no part '${text}'; there are: ${partIds.join(', ')}`);
  return found;
}
