// Part of the build: puts what the compiler does not know beside what it made, and removes what has no source any more.
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { inProject } from './lib/project.mjs';
import { filesOf } from './lib/stamps.mjs';

const COMPILED = /\.(d\.ts|js|js\.map)$/;

function isAsset(file) {
  return file.endsWith('.lua') || file.endsWith('/gen/descriptors.binpb');
}

function hasSource(file) {
  const source = inProject(file.replace('/dist/', '/src/'));
  return COMPILED.test(file) ? existsSync(source.replace(COMPILED, '.ts')) : !isAsset(file) || existsSync(source);
}

for (const file of filesOf('server/src').filter(isAsset)) {
  const target = inProject(file.replace('/src/', '/dist/'));
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(inProject(file), target);
}
for (const dist of ['server/dist', 'clients/typescript/dist']) {
  for (const file of filesOf(dist)) if (!hasSource(file)) rmSync(inProject(file));
}
