import { parseArgs } from 'node:util';
import { check, list, positive, UsageError } from '../options.js';

export const partIds = ['publish', 'fan-out', 'invalidation'] as const;
export type PartId = (typeof partIds)[number];

export interface Options {
  readonly parts: readonly PartId[];
  readonly subscribers: number;
  /** Of each cell of a table. */
  readonly windowMs: number;
  /** Directory for CPU profiles of the Stafett servers. */
  readonly profile: string | undefined;
}

export const usage = `npm run bench:events -- [options]
  --only a,b          parts: ${partIds.join(', ')} (default: all)
  --subscribers N     of the fan-out (default 1000)
  --seconds S         measured time of a cell (default 1)
  --profile DIRECTORY writes CPU profiles of the Stafett servers (see profile-summary.ts)
  --help`;

/** Parses the command line; undefined: show the usage. @throws {UsageError} */
export function parseOptions(args: readonly string[]): Options | undefined {
  const text = { type: 'string' } as const;
  const options = { only: text, subscribers: text, seconds: text, profile: text, help: { type: 'boolean' } } as const;
  const { values } = check(() => parseArgs({ args: [...args], options, allowPositionals: false }));
  if (values.help) return undefined;
  const parts = list(values.only).map(toPart);
  return {
    parts: parts.length > 0 ? parts : partIds,
    subscribers: Math.ceil(positive('--subscribers', values.subscribers ?? '1000')),
    windowMs: 1000 * positive('--seconds', values.seconds ?? '1'),
    profile: values.profile,
  };
}

function toPart(text: string): PartId {
  const found = partIds.find((id) => id === text);
  if (found === undefined) throw new UsageError(`--only: no part '${text}'; there are: ${partIds.join(', ')}`);
  return found;
}
