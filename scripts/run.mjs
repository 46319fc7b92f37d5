// npm run demo, npm run bench: installs and builds what they need, then runs a TypeScript program of the project.
import { build } from './lib/build.mjs';
import { becomeProgram } from './lib/forward-signals.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { ensureRedis } from './lib/redis.mjs';
import { runMain } from './lib/steps.mjs';

await runMain(async () => {
  await installPackages();
  if (!process.env.REDIS_URL) await ensureRedis();
  await build();
  await becomeProgram(process.execPath, ['--import', 'tsx', ...process.argv.slice(2)]);
});
