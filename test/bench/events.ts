// `npm run bench:events`: what publications, subscribers and invalidations cost, beside plain Redis. See README.md beside this file.
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fanOut } from './events/fan-out.js';
import { invalidation } from './events/invalidation.js';
import { parseOptions, usage } from './events/options.js';
import { publications } from './events/publish.js';
import { runBench } from './harness/bench-of-parts.js';

const PARTS = { publish: publications, 'fan-out': fanOut, invalidation };

await runBench({
  usage,
  parse: parseOptions,
  run: async (part, redis, options, cleanup) => {
    if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
    const nodeArgs = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(options.profile, part)}`];
    await PARTS[part](redis, options, nodeArgs, cleanup);
  },
});
