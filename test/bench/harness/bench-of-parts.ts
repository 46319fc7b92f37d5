import { loadavg } from 'node:os';
import { UsageError } from '../options.js';
import { describeMachine } from '../report.js';
import { buildIfMissing } from './build.js';
import { CleanupStack } from './cleanup.js';
import { type RedisServer, startRedis } from './redis-server.js';

/** What is measured by its parts. */
type OfParts = { readonly parts: readonly string[] };

export interface BenchOfParts<Options extends OfParts> {
  readonly usage: string;
  /** Undefined: show the usage. @throws {UsageError} */
  parse(args: readonly string[]): Options | undefined;
  /** Measures a part and prints what it found. */
  run(part: Options['parts'][number], redis: RedisServer, options: Options, cleanup: CleanupStack): Promise<void>;
}

/** Runs a bench from its command line, each part with a Redis of its own, and ends the process. */
export async function runBench<Options extends OfParts>(bench: BenchOfParts<Options>): Promise<never> {
  const cleanup = new CleanupStack();
  cleanup.handleSignals();
  const status = await main(bench, cleanup);
  await cleanup.run();
  process.exit(status);
}

async function main<Options extends OfParts>(bench: BenchOfParts<Options>, cleanup: CleanupStack): Promise<number> {
  try {
    const options = bench.parse(process.argv.slice(2));
    if (options === undefined) console.log(bench.usage);
    else await runParts(bench, options, cleanup);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) console.error(`${error.message}\n\n${bench.usage}`);
    else console.error(error);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function runParts<Options extends OfParts>(bench: BenchOfParts<Options>, options: Options, cleanup: CleanupStack): Promise<void> {
  buildIfMissing(['server/dist/main.js', 'clients/typescript/dist/index.js']);
  console.log('Clients, servers and Redis share this machine:');
  for (const part of options.parts) {
    // All servers of a part end before the next one begins.
    const ofPart = new CleanupStack();
    cleanup.add(() => ofPart.run());
    const redis = await startRedis(ofPart);
    if (part === options.parts[0]) printMachine(redis);
    await bench.run(part, redis, options, ofPart);
    if (cleanup.begun) return new Promise(() => {}); // interrupted: the signal's handler ends the process
    await ofPart.run();
  }
}

function printMachine(redis: RedisServer): void {
  const machine = { ...describeMachine({ redis }), 'load before': loadavg()[0]?.toFixed(1) ?? '?' };
  for (const [name, value] of Object.entries(machine)) console.log(`  ${name}: ${value}`);
}
