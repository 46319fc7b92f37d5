// `npm run bench:events`: what publications, subscribers and invalidations cost, beside plain Redis. See README.md beside this file.
import { mkdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { fanOut } from './events/fan-out.js';
import { invalidation } from './events/invalidation.js';
import { type Options, type PartId, parseOptions, usage } from './events/options.js';
import { publications } from './events/publish.js';
import { buildIfMissing } from './harness/build.js';
import { CleanupStack } from './harness/cleanup.js';
import { startRedis } from './harness/redis-server.js';
import { UsageError } from './options.js';
import { describeMachine } from './report.js';

const PARTS: Readonly<Record<PartId, typeof fanOut>> = { publish: publications, 'fan-out': fanOut, invalidation };

async function bench(options: Options, cleanup: CleanupStack): Promise<void> {
  buildIfMissing(['server/dist/main.js', 'clients/typescript/dist/index.js']);
  if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
  console.log('Clients, servers and Redis share this machine:');
  for (const part of options.parts) {
    // All servers of a part end before the next one begins.
    const ofPart = new CleanupStack();
    cleanup.add(() => ofPart.run());
    const redis = await startRedis(ofPart);
    if (part === options.parts[0]) printMachine(describeMachine({ redis }));
    const nodeArgs = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(options.profile, part)}`];
    await PARTS[part](redis, options, nodeArgs, ofPart);
    if (cleanup.begun) return new Promise(() => {}); // interrupted: the signal's handler ends the process
    await ofPart.run();
  }
}

function printMachine(machine: Record<string, string>): void {
  const load = loadavg()[0]?.toFixed(1) ?? '?';
  for (const [name, value] of Object.entries({ ...machine, 'load before': load })) console.log(`  ${name}: ${value}`);
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
