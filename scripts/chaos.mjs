// npm run chaos: a small world of servers, clients and a Redis, hurt at random for as long as you like.
import { parseArgs } from 'node:util';
import { build } from './lib/build.mjs';
import { useChosenRedis } from './lib/chosen-redis.mjs';
import { becomeProgram } from './lib/forward-signals.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { bin } from './lib/project.mjs';
import { ensureRedis } from './lib/redis.mjs';
import { runMain, Stop } from './lib/steps.mjs';

const USAGE = `npm run chaos -- [options]
  --minutes M      how long each run hurts (default 1)
  --runs N         runs, each with the seed after the last one's (default 1)
  --seed N         of the first run; the same seed draws the same faults (default: random)
  --redis KIND     what keeps the servers' state: single, sentinel (a master, a replica and a sentinel) or cluster (three
                   masters, each with a replica) (default single)
  --servers N      servers (default 2)
  --clients N      client processes, each with three transactions at once (default 4)
  --faults a,b     only these (default: all that the kind of Redis can suffer; they are named in test/chaos/faults.ts)
  --help

It prints the seed, the faults, what was done, what was violated, and how long recovery took. Exit status 1: a violation.`;

const OPTIONS = {
  minutes: { type: 'string', default: '1' },
  runs: { type: 'string', default: '1' },
  seed: { type: 'string' },
  redis: { type: 'string', default: 'single' },
  servers: { type: 'string', default: '2' },
  clients: { type: 'string', default: '4' },
  faults: { type: 'string' },
  help: { type: 'boolean' },
};

await runMain(async () => {
  const { minutes, runs, seed, redis, servers, clients, faults, help } = readOptions();
  if (help) return void process.stdout.write(`${USAGE}\n`);
  await installPackages();
  useChosenRedis();
  await ensureRedis();
  await build();
  const env = {
    ...process.env,
    STAFETT_TEST_REDIS: 'private',
    STAFETT_CHAOS_SECONDS: String(Math.max(31, positive('minutes', minutes) * 60)),
    STAFETT_CHAOS_RUNS: String(positive('runs', runs)),
    STAFETT_CHAOS_SERVERS: String(positive('servers', servers)),
    STAFETT_CHAOS_CLIENTS: String(positive('clients', clients)),
    STAFETT_CHAOS_REDIS: oneOf('redis', redis, ['single', 'sentinel', 'cluster']),
    ...(seed !== undefined && { STAFETT_TEST_SEED: String(positive('seed', seed)) }),
    ...(faults !== undefined && { STAFETT_CHAOS_FAULTS: faults }),
  };
  await becomeProgram(bin('vitest'), ['run', 'test/fault/chaos.test.ts', '--disable-console-intercept'], { env });
});

function readOptions() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    throw new Stop(`${error.message}\n\n${USAGE}`);
  }
}

function positive(name, text) {
  const number = Number(text);
  if (!(number > 0)) throw new Stop(`--${name} must be a number above 0, and is '${text}'\n\n${USAGE}`);
  return number;
}

function oneOf(name, text, values) {
  if (!values.includes(text)) throw new Stop(`--${name} must be one of ${values.join(', ')}, and is '${text}'\n\n${USAGE}`);
  return text;
}
