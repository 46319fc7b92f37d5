import { existsSync } from 'node:fs';
import { bin, inProject } from './project.mjs';
import { filesOf, onceFor } from './stamps.mjs';
import { run, step } from './steps.mjs';

const DESCRIPTORS = 'server/src/gen/descriptors.binpb';
const PACKAGES = ['server', 'clients/typescript'];
const OUTPUTS = ['server/dist/main.js', 'server/dist/gen/descriptors.binpb', 'clients/typescript/dist/index.js'];

/** Makes what comes from the protos: types and definitions for both sides, and the descriptors that reflection serves. */
export function generate({ force = false } = {}) {
  const task = {
    name: 'generate',
    inputs: ['proto', 'buf.yaml', 'buf.gen.yaml', 'package-lock.json'],
    outputs: [DESCRIPTORS, ...PACKAGES.map((path) => `${path}/src/gen/stafett/v1`)],
    force,
  };
  return onceFor(task, async () => {
    step('generating code from proto/');
    await run(bin('buf'), ['generate']);
    await run(bin('buf'), ['build', 'proto', '-o', DESCRIPTORS]);
  });
}

/** Brings the build of the server and the client up to date. */
export async function build({ force = false } = {}) {
  await generate();
  const sources = PACKAGES.flatMap((path) => [`${path}/src`, `${path}/package.json`, `${path}/tsconfig.json`]);
  const outputs = OUTPUTS.filter(isBuilt);
  const task = { name: 'build', inputs: [...sources, 'tsconfig.base.json', 'package-lock.json'], outputs, force };
  return onceFor(task, async () => {
    step('building');
    // The compiler's own notes of what it did do not notice that a file is gone.
    const complete = outputs.every((path) => existsSync(inProject(path)));
    await run(bin('tsc'), ['-b', ...PACKAGES, ...(complete ? [] : ['--force'])]);
    await run(process.execPath, [inProject('scripts/copy-assets.mjs')]);
  });
}

/** Whether there is a source for the output: while a package is young it may have none. */
function isBuilt(output) {
  return !output.endsWith('.js') || filesOf(output.replace('/dist/', '/src/').replace(/\.js$/, '.ts')).length > 0;
}
