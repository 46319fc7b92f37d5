// A process with nodes of many managed processes: node --import tsx nodes.ts <settings, JSON>. Each node is a client of its own, with a connection and a
// session. It tells its parent when all have joined, and of each worker that begins.
import { connect } from '@stafett/client';
import { clockMs } from '../events/mark.js';

export interface NodesSettings {
  readonly address: string;
  readonly ttlMs: number;
  readonly nodes: readonly string[];
  readonly processes: number;
  readonly workers: number;
}

/** A worker that began, when, and where. */
export interface Began {
  readonly slot: string;
  readonly node: string;
  readonly at: number;
}

export type FromNodes = { readonly type: 'joined' } | { readonly type: 'began'; readonly workers: readonly Began[] };

/** How often the parent is told, ms. */
const TELL_MS = 20;

const settings = JSON.parse(process.argv[2] as string) as NodesSettings;
let began: Began[] = [];

setInterval(() => {
  if (began.length === 0) return;
  process.send?.({ type: 'began', workers: began } satisfies FromNodes);
  began = [];
}, TELL_MS);

async function join(node: string): Promise<void> {
  const client = await connect(settings.address, { client: 'bench', ttl: settings.ttlMs });
  const all = Array.from({ length: settings.processes }, (_, i) => {
    const options = { workers: settings.workers, status: 'stopped', node } as const; // all begin at once, when all have joined
    return client.processes.manage(`process-${i}`, options, async ({ slot, signal }) => {
      began.push({ slot: `${i}/${slot}`, node, at: clockMs() });
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    });
  });
  await Promise.all(all.map((managed) => managed.joined()));
}

for (const node of settings.nodes) await join(node);
process.send?.({ type: 'joined' } satisfies FromNodes);
process.on('disconnect', () => process.exit());
