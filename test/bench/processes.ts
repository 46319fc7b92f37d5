// `npm run bench:processes`: what managed processes and runs cost, beside BullMQ and plain Redis. See README.md beside this file.
import { runBench } from './harness/bench-of-parts.js';
import { parseOptions, usage } from './processes/options.js';
import { progress } from './processes/progress.js';
import { starts } from './processes/starts.js';
import { takeover } from './processes/takeover.js';

const PARTS = { takeover, starts, progress };

await runBench({ usage, parse: parseOptions, run: (part, redis, options, cleanup) => PARTS[part](redis, options, cleanup) });
