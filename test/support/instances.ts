import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Stafett } from '../../clients/typescript/src/index.js';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { plainEnv, startProcess, type TestProcess } from './process.js';

const PROGRAM = fileURLToPath(new URL('./called-instance.mjs', import.meta.url));
const START_MS = 20_000;
export const BLOCK = 65_536;

export interface CalledInstance extends TestProcess {
  readonly id: string;
}

interface Address {
  readonly address: string;
}

/** A process of its own that serves the calls of `called-instance.mjs`. It ends with the test or the file. */
export async function startInstance(
  servers: Address | readonly Address[],
  namespace: string,
  options: object = {},
): Promise<CalledInstance> {
  const addresses = [servers].flat().map(({ address }) => address);
  const args = [PROGRAM, addresses.join(','), namespace, JSON.stringify({ ttl: '10s', ...options })];
  const started = startProcess(process.execPath, args, plainEnv());
  onCleanup(() => (started.ended ? undefined : started.kill()));
  const id = () => /^id (.+)$/m.exec(started.stdout())?.[1] ?? false;
  await eventually('the instance to be listed', () => id() !== false || started.ended, { timeoutMs: START_MS });
  if (started.ended) throw new Error(`the instance ended: ${started.stderr()}`);
  return Object.assign(started, { id: id() as string });
}

/** Waits until the instance is back. */
export async function connected({ instances }: Stafett, id: string, timeoutMs = 10_000): Promise<void> {
  await eventually(`${id} to be connected`, async () => (await instances.get(id)).connected, { timeoutMs });
}

/** What the call `big` is to answer. */
export function sha256OfBlocks(count: number): string {
  const hash = createHash('sha256');
  const bytes = Buffer.alloc(BLOCK);
  for (let i = 0; i < count; i++) {
    bytes.fill(i & 255).writeUInt32LE(i, 0);
    hash.update(bytes);
  }
  return hash.digest('hex');
}

/** How much of the machine's memory the process has, MiB. */
export function rssMib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
}
