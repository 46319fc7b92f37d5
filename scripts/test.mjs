// npm test: installs what is missing, builds, and runs the tests. Arguments go to vitest: `npm test -- lock` runs the files
// with `lock` in their path, `npm test -- --project unit` one project. Its last line is `N passed, N failed`.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './lib/build.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { bin, stateDir } from './lib/project.mjs';
import { exitOf, runMain, step } from './lib/steps.mjs';
import { prepareTestRedis } from './lib/test-redis.mjs';

await runMain(async () => {
  await installPackages();
  const redis = await prepareTestRedis();
  await build();
  const report = join(stateDir, `test-report-${process.pid}.json`);
  mkdirSync(stateDir, { recursive: true });
  try {
    const { code, signal } = await runVitest(report, redis);
    const { passed, failed, skipped } = count(readReport(report));
    process.exitCode = signal === null ? code : 1;
    if (process.exitCode !== 0 && failed === 0) step('vitest failed although no test did; the lines above say why');
    process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
  } finally {
    rmSync(report, { force: true });
  }
});

/** Ctrl-C reaches vitest from the terminal; we stay to tell how far it came. */
async function runVitest(report, env) {
  const ignore = () => {};
  process.on('SIGINT', ignore);
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...process.argv.slice(2)];
  const result = await exitOf(bin('vitest'), args, { env: { ...process.env, ...env } });
  process.off('SIGINT', ignore);
  return result;
}

function count({ testResults, numPassedTests, numFailedTests, numPendingTests, numTodoTests }) {
  // A file that could not even be loaded has no test that could fail.
  const broken = testResults.filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0).length;
  return { passed: numPassedTests, failed: numFailedTests + broken, skipped: numPendingTests + numTodoTests };
}

function readReport(file) {
  const nothing = { testResults: [], numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 };
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : nothing;
}
