// npm run build: generates and builds what is not up to date. With --force all of it.
import { build } from './lib/build.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { runMain, step } from './lib/steps.mjs';

await runMain(async () => {
  await installPackages();
  const done = await build({ force: process.argv.includes('--force') });
  if (!done) step('the build is up to date');
});
