// npm start: installs what is missing, builds what is not up to date, and starts the server with the arguments given.
// Needs nothing but Node and npm.
import { build } from './lib/build.mjs';
import { becomeProgram } from './lib/forward-signals.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { inProject } from './lib/project.mjs';
import { ensureRedis } from './lib/redis.mjs';
import { runMain, step } from './lib/steps.mjs';

const args = process.argv.slice(2);

/** With a flag (`--help`, `--check-config`) the server only prints something. */
const serves = args.length === 0;

await runMain(async () => {
  await installPackages();
  if (serves && !process.env.REDIS_URL) await ensureRedis();
  await build();
  if (serves) step('starting the server');
  await becomeProgram(process.execPath, [inProject('server/dist/main.js'), ...args]);
});
