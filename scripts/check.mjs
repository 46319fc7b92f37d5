// npm run check: everything that can be checked without running the program. Changes no file of the project.
import { build } from './lib/build.mjs';
import { installPackages } from './lib/prerequisites.mjs';
import { bin } from './lib/project.mjs';
import { withProtoBaseline } from './lib/proto-baseline.mjs';
import { filesOf } from './lib/stamps.mjs';
import { runInOnePiece as run, runMain, Stop, step } from './lib/steps.mjs';

const SOURCES = {
  'lint and format': () => run(bin('biome'), ['check', '--error-on-warnings']),
  'protos: lint': () => run(bin('buf'), ['lint']),
  'protos: format': () => run(bin('buf'), ['format', '--diff', '--exit-code']),
  'protos: breaking changes': checkBreakingChanges,
};
const BUILD = { 'generated code, types of the server and the client': () => build() };
// What needs the generated code, or the types of what is built.
const TYPES = {
  'types of the tests': () => checkTypes('test'),
  'types of the examples': () => checkTypes('examples'),
};
const IMPORTS = {
  'circular imports of the server': () => checkCircularImports('server'),
  'circular imports of the client': () => checkCircularImports('clients/typescript'),
};

await runMain(async () => {
  await installPackages();
  // Two at a time, for most of them use one processor.
  const failed = [...(await sideBySide(BUILD, SOURCES)), ...(await sideBySide(TYPES, IMPORTS))];
  if (failed.length > 0) throw new Stop(`failed: ${failed.join('; ')}. \`npm run format\` mends what can be mended by itself`);
  step('all checks passed');
});

async function sideBySide(...groups) {
  return (await Promise.all(groups.map(oneAfterTheOther))).flat();
}

/** @returns the names of those that failed. */
async function oneAfterTheOther(checks) {
  const failed = [];
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      step(`check: ${name}: passed`);
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      step(`check: ${name}: ${error.message}`);
      failed.push(name);
    }
  }
  return failed;
}

async function checkBreakingChanges() {
  const result = await withProtoBaseline(async (dir, commit) => {
    step(`comparing with ${commit}`);
    await run(bin('buf'), ['breaking', '--against', dir]);
  });
  if (result?.missing !== undefined) step(`skipped: ${result.missing}`);
}

async function checkTypes(dir) {
  if (!filesOf(dir).some((file) => file.endsWith('.ts'))) return step(`skipped: there is no TypeScript in ${dir}/`);
  await run(bin('tsc'), ['--noEmit', '-p', dir]);
}

async function checkCircularImports(dir) {
  const options = ['--no-tree', '--no-warning', '--no-progress', '--tsconfig', `${dir}/tsconfig.json`, '--exit-code', 'circular:1'];
  await run(bin('dpdm'), [...options, `${dir}/src/**/*.ts`]);
}
