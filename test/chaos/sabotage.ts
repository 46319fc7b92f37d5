import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onCleanup } from '../support/cleanup.js';
import { applyPatch, type Patch } from '../support/engine-harness.js';

const SERVER = fileURLToPath(new URL('../../server', import.meta.url));

/** A copy of the built server with bugs planted in one of its files, e.g. `engine/scripts/queues.lua`. Returns its directory. */
export function sabotagedServer(file: string, patches: readonly Patch[]): string {
  const dist = mkdtempSync(join(SERVER, '.sabotaged-')); // where it finds its packages
  onCleanup(() => rmSync(dist, { recursive: true, force: true }));
  cpSync(join(SERVER, 'dist'), dist, { recursive: true });
  const path = join(dist, file);
  writeFileSync(path, patches.reduce(applyPatch, readFileSync(path, 'utf8')));
  return dist;
}
