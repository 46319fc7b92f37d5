import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onCleanup } from '../support/cleanup.js';
import { applyPatch, type Patch } from '../support/engine-harness.js';

const SERVER = fileURLToPath(new URL('../../server', import.meta.url));

/** A copy of the built server with bugs planted in some of the engine's files. Returns its directory. */
export function sabotagedServer(patches: Readonly<Record<string, Patch>>): string {
  const dist = mkdtempSync(join(SERVER, '.sabotaged-')); // where it finds its packages
  onCleanup(() => rmSync(dist, { recursive: true, force: true }));
  cpSync(join(SERVER, 'dist'), dist, { recursive: true });
  for (const [file, patch] of Object.entries(patches)) {
    const path = join(dist, 'engine/scripts', file);
    writeFileSync(path, applyPatch(readFileSync(path, 'utf8'), patch));
  }
  return dist;
}
