import { parseArgs } from 'node:util';

export interface DemoOptions {
  readonly transactions: number;
  readonly seed: number;
  /** Of a server that is running; none: the demo starts one. */
  readonly server: string | undefined;
  readonly ttl: string;
  readonly keep: boolean;
}

/** Fewer might not do any damage without locks, and then there would be nothing to see. */
const TRANSACTIONS_MIN = 50;
const TRANSACTIONS_MAX = 20_000;
const SEED_MAX = 2 ** 31 - 1;

export const HELP = `npm run demo -- [options]

Three node processes work through tax-return transactions of seven steps each, on files without any protection: first without
locks, then with Stafett, while one of the nodes is killed. Then a background process with four workers is spread over nodes that
come and go, a report is made once, events and a feature toggle are seen in a second process, and the busiest node is asked for a
CPU profile, which stays in .stafett/demo.cpuprofile.

  --transactions N   how many: ${TRANSACTIONS_MIN} to ${TRANSACTIONS_MAX} (default 400)
  --seed N           the same transactions and pauses as in the run with this seed (default: a new one, which is printed)
  --server ADDRESS   uses the Stafett server that runs there, or several: A,B; in a namespace of its own (default: starts two)
  --ttl TEXT         the TTL of the nodes' sessions: 1s to 30s (default 3s)
  --keep             keeps the files, and says where they are
  --help             shows this

Exit code: 0 as promised; 1 something was lost with Stafett, or nothing without; 2 wrong option; 130 interrupted.`;

/** A wrong option; the message names it. */
export class UsageError extends Error {}

/** @returns undefined when help was asked for. @throws {UsageError} */
export function parseOptions(args: readonly string[]): DemoOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  if (!/^([1-9]|[12]\d|30)s$/.test(values.ttl)) throw new UsageError(`--ttl: '${values.ttl}' is not one of 1s to 30s`);
  return {
    transactions: integer('--transactions', values.transactions, TRANSACTIONS_MIN, TRANSACTIONS_MAX),
    seed: integer('--seed', values.seed ?? `${Math.floor(Math.random() * 1e6)}`, 0, SEED_MAX),
    server: values.server,
    ttl: values.ttl,
    keep: values.keep,
  };
}

function parse(args: readonly string[]) {
  try {
    const options = {
      transactions: { type: 'string', default: '400' },
      seed: { type: 'string' },
      server: { type: 'string' },
      ttl: { type: 'string', default: '3s' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${name}: '${text}' is not a whole number from ${min} to ${max}`);
}
