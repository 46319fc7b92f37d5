import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inProject, stateDir } from './project.mjs';

/**
 * Does `work` unless it was done for exactly these inputs and its outputs are still there. Tells whether it did.
 * @param {{ name: string, inputs: string[], outputs: string[], force?: boolean }} task paths of the project: files or directories
 */
export async function onceFor({ name, inputs, outputs, force = false }, work) {
  const stamp = join(stateDir, `${name}.stamp`);
  const hash = hashOf(inputs);
  const done = existsSync(stamp) && readFileSync(stamp, 'utf8') === hash && outputs.every((path) => existsSync(inProject(path)));
  if (done && !force) return false;
  await work();
  mkdirSync(stateDir, { recursive: true });
  // In one step, for another start may be reading it.
  const draft = `${stamp}.${process.pid}`;
  writeFileSync(draft, hash);
  renameSync(draft, stamp);
  return true;
}

function hashOf(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesOf)) {
    const content = readFileSync(inProject(file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** The files at a path of the project, in an order that is always the same; none if there is nothing. */
export function filesOf(path) {
  const entry = statSync(inProject(path), { throwIfNoEntry: false });
  if (entry === undefined) return [];
  if (!entry.isDirectory()) return [path];
  return readdirSync(inProject(path))
    .sort()
    .flatMap((name) => filesOf(`${path}/${name}`));
}
