// `npm run bench:processes`: what managed processes and runs cost, beside BullMQ and plain Redis. See README.md beside this file.
import { loadavg } from 'node:os';
import { buildIfMissing } from './harness/build.js';
import { CleanupStack } from './harness/cleanup.js';
import { type RedisServer, startRedis } from './harness/redis-server.js';
import { UsageError } from './options.js';
import { type Options, type PartId, parseOptions, usage } from './processes/options.js';
import { progress } from './processes/progress.js';
import { starts } from './processes/starts.js';
import { takeover } from './processes/takeover.js';
import { describeMachine } from './report.js';

type Part = (redis: RedisServer, options: Options, cleanup: CleanupStack) => Promise<void>;

const PARTS: Readonly<Record<PartId, Part>> = { takeover, starts, progress };

async function bench(options: Options, cleanup: CleanupStack): Promise<void> {
  buildIfMissing(['server/dist/main.js', 'clients/typescript/dist/index.js']);
  console.log('Clients, servers and Redis share this machine:');
  for (const part of options.parts) {
    // All servers of a part end before the next one begins.
    const ofPart = new CleanupStack();
    cleanup.add(() => ofPart.run());
    const redis = await startRedis(ofPart);
    if (part === options.parts[0]) {
      const machine = { ...describeMachine({ redis }), 'load before': loadavg()[0]?.toFixed(1) ?? '?' };
      for (const [name, value] of Object.entries(machine)) console.log(`  ${name}: ${value}`);
    }
    await PARTS[part](redis, options, ofPart);
    if (cleanup.begun) return new Promise(() => {}); // interrupted: the signal's handler ends the process
    await ofPart.run();
  }
}

async function main(cleanup: CleanupStack): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options === undefined) console.log(usage);
    else await bench(options, cleanup);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) console.error(`${error.message}\n\n${usage}`);
    else console.error(error);
    return error instanceof UsageError ? 2 : 1;
  }
}

const cleanup = new CleanupStack();
cleanup.handleSignals();
const status = await main(cleanup);
await cleanup.run();
process.exit(status);
