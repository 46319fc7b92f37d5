import { existsSync, statSync } from 'node:fs';
import { inProject } from './project.mjs';
import { runNpm, Stop, step } from './steps.mjs';

const NODE_MAJOR_MIN = 20;

/** Installs the npm packages unless that was done since the lockfile changed. */
export async function installPackages() {
  checkNode();
  const lockfile = inProject('package-lock.json');
  const installed = inProject('node_modules/.package-lock.json'); // npm writes it last
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockfile).mtimeMs) return;
  step('installing npm packages (npm ci)');
  await runNpm(['ci', '--no-audit', '--no-fund']);
}

function checkNode() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= NODE_MAJOR_MIN) return;
  throw new Stop(`this is Node ${process.versions.node}, and ${NODE_MAJOR_MIN} or later is needed: see https://nodejs.org/en/download`);
}
