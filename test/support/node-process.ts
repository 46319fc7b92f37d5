import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { plainEnv, startProcess, type TestProcess } from './process.js';

const PROGRAM = fileURLToPath(new URL('./node-program.mjs', import.meta.url));

/** How a node process is to behave. The managed process is `p`. */
export interface NodeSettings {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly namespace: string;
  readonly ttlMs: number;
  readonly workers: number;
  readonly capacity?: number;
  /** How long its workers go on after they were told to stop. */
  readonly stopMs: number;
}

/** What a worker tells of itself. Times are µs of the machine's monotonic clock. */
export type WorkerEvent =
  | { readonly kind: 'ready'; readonly at: number }
  /** It runs, for the first time or still; the time is before it looked whether it may. */
  | { readonly kind: 'start' | 'beat'; readonly at: number; readonly slot: number; readonly token: string };

/** An event and the node that told it. */
export type ToldWorkerEvent = WorkerEvent & { readonly node: string };

export interface NodeProcess {
  readonly name: string;
  readonly process: TestProcess;
}

/** Starts a node process, and waits until it has joined. What it tells is appended to `events`. */
export async function startNode(settings: NodeSettings, events: ToldWorkerEvent[]): Promise<NodeProcess> {
  const { name } = settings;
  const child = startProcess(process.execPath, [PROGRAM, JSON.stringify(settings)], plainEnv());
  onCleanup(() => child.kill('SIGKILL'));
  let ready = false;
  createInterface({ input: child.child.stdout as Readable }).on('line', (line) => {
    if (!line.endsWith('}')) return; // cut off by a kill
    const event = JSON.parse(line) as WorkerEvent;
    if (event.kind === 'ready') ready = true;
    events.push({ ...event, node: name });
  });
  await eventually(`${name} to join`, () => ready || child.ended, { timeoutMs: 60_000 });
  if (child.ended) throw new Error(`${name} ended: ${child.stderr()}`);
  return { name, process: child };
}
