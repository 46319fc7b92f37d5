import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from './paths.js';

/** Builds the project if one of these files has never been built; whoever changes something builds it again. */
export function buildIfMissing(needed: readonly string[]): void {
  if (needed.every((path) => existsSync(join(repositoryRoot, path)))) return;
  process.stderr.write('not built yet: npm run build\n');
  const { status } = spawnSync('npm', ['run', 'build'], { cwd: repositoryRoot, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('npm run build failed');
}
