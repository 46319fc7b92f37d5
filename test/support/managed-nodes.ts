import type { ClusterState, ManagedProcess, ManageOptions, Stafett, Worker, WorkerFunction } from '../../clients/typescript/src/index.js';
import { connectClient } from './client.js';
import { eventually } from './eventually.js';

/** The process of the tests. */
export const PROCESS = 'mail/sender';

/** A worker that runs until it is told to stop. */
export function untilStopped({ signal }: Pick<Worker, 'signal'>): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}

export interface TestNode {
  readonly client: Stafett;
  readonly managed: ManagedProcess;
}

export interface TestNodeOptions extends Partial<ManageOptions> {
  readonly namespace: string;
  readonly work?: WorkerFunction;
  readonly ttl?: number;
}

/** A node with a client of its own. */
export async function joinNode(
  servers: Parameters<typeof connectClient>[0],
  name: string,
  { namespace, work = untilStopped, ttl, ...options }: TestNodeOptions,
): Promise<TestNode> {
  const client = await connectClient(servers, { namespace, host: name, client: 'mail', version: '1.2', ...(ttl && { ttl }) });
  const managed = client.processes.manage(PROCESS, { workers: 1, node: name, ...options }, work);
  await managed.joined();
  return { client, managed };
}

/** Waits until as many workers run, spread so over the nodes, whichever, and shows the state. */
export function spread(client: Stafett, ...counts: number[]): Promise<ClusterState> {
  return becomes(client, `${counts.join(' + ')} workers`, ({ slots, nodes }) => {
    const calm = slots.every(({ state }) => state === 'RUNNING' || state === 'PENDING');
    const active = nodes.map(({ activeWorkers }) => activeWorkers).sort((a, b) => b - a);
    return calm && JSON.stringify(active) === JSON.stringify(counts);
  });
}

/** Waits until the state is as wanted, and shows it. */
export function becomes(client: Stafett, what: string, is: (state: ClusterState) => boolean): Promise<ClusterState> {
  const ask = async () => {
    const state = await client.processes.get(PROCESS);
    return is(state) && state;
  };
  return eventually(what, ask) as Promise<ClusterState>;
}
