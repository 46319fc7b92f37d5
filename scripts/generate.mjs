// npm run generate: code from proto/, if proto/ has changed. With --force in any case.
import { generate } from './lib/build.mjs';
import { runMain, step } from './lib/steps.mjs';

await runMain(async () => {
  const done = await generate({ force: process.argv.includes('--force') });
  if (!done) step('the generated code is up to date');
});
