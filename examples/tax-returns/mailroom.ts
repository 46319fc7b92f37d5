import type { ChildProcess } from 'node:child_process';
import { type ClusterState, connect, type Stafett } from '@stafett/client';
import { Children, gone } from './children.js';
import type { MailNodeMessage, MailNodeOptions } from './mail-node.js';

const WORKERS = 4;
const STEP_TIMEOUT = '60s';

export interface MailroomOptions {
  readonly address: string;
  readonly namespace: string;
  readonly ttl: string;
  readonly signal: AbortSignal;
}

/** The second act: a background process with four workers, while nodes come and go. @returns the most workers that ran at once. */
export async function mailroom(options: MailroomOptions): Promise<number> {
  await using stafett = await connect(options.address, { namespace: options.namespace, client: 'mail-admin', signal: options.signal });
  await using staff = new Staff(options);
  const step = async (what: string, counts: readonly number[], act: () => unknown) => {
    const since = performance.now();
    await act();
    const state = await becomes(stafett, counts, options.signal);
    const spread = state.nodes.map(({ node, activeWorkers }) => `${node} ${activeWorkers}`).join(', ') || 'nobody';
    console.log(`   ${what.padEnd(34)} ${spread.padEnd(20)} ${((performance.now() - since) / 1_000).toFixed(1)} s`);
  };
  await step('node-1 joins', [4], () => staff.hire('node-1'));
  await step('node-2 joins', [2, 2], () => staff.hire('node-2'));
  await step('the admin wants 2 workers', [1, 1], () => stafett.processes.update('mail-sender', { workers: 2 }));
  await step('the admin wants 4 again', [2, 2], () => stafett.processes.update('mail-sender', { workers: WORKERS }));
  await step(`node-2 is killed (TTL ${options.ttl})`, [4], () => staff.kill('node-2'));
  console.log(`   Never more than ${staff.most} workers at once, of ${WORKERS}.`);
  return staff.most;
}

/** Waits until so many workers run on the nodes, whichever, and no others are about to. */
async function becomes({ processes }: Stafett, counts: readonly number[], signal: AbortSignal): Promise<ClusterState> {
  const wanted = counts.reduce((sum, count) => sum + count, 0);
  for await (const state of processes.watch('mail-sender', { signal, timeout: STEP_TIMEOUT })) {
    const active = state.nodes.map(({ activeWorkers }) => activeWorkers).sort((a, b) => b - a);
    if (state.assignedSlots === wanted && active.join() === counts.join()) return state;
  }
  throw new Error(`the letters were not taken over by ${counts.join(' + ')} workers within ${STEP_TIMEOUT}`);
}

interface Shift {
  readonly node: ChildProcess;
  readonly from: number;
  until: number;
}

/** The nodes, and when their workers were at work, as they tell themselves. */
class Staff implements AsyncDisposable {
  readonly #options: MailroomOptions;
  readonly #children = new Children();
  readonly #nodes = new Map<string, ChildProcess>();
  /** By the tokens of the workers. */
  readonly #shifts = new Map<string, Shift>();

  constructor(options: MailroomOptions) {
    this.#options = options;
  }

  hire(name: string): void {
    const { address, namespace, ttl } = this.#options;
    const node: MailNodeOptions = { name, address, namespace, ttl, workers: WORKERS };
    const child = this.#children.start('mail-node.ts', node);
    child.on('message', (message: MailNodeMessage) => this.#onMessage(child, message));
    child.once('exit', () => this.#onExit(child));
    this.#nodes.set(name, child);
  }

  async kill(name: string): Promise<void> {
    const child = this.#nodes.get(name) as ChildProcess;
    child.kill('SIGKILL');
    await gone(child);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#children[Symbol.asyncDispose]();
  }

  /** The most workers that were at work at once. */
  get most(): number {
    const shifts = [...this.#shifts.values()];
    return Math.max(0, ...shifts.map(({ from }) => shifts.filter((other) => other.from <= from && from < other.until).length));
  }

  #onMessage(node: ChildProcess, { type, token, at }: MailNodeMessage): void {
    const shift = this.#shifts.get(token);
    if (type === 'began') this.#shifts.set(token, { node, from: at, until: Number.POSITIVE_INFINITY });
    else if (shift) shift.until = at;
  }

  /** Nobody works in a process that has ended. */
  #onExit(child: ChildProcess): void {
    const now = Number(process.hrtime.bigint()) / 1e6;
    for (const shift of this.#shifts.values()) if (shift.node === child) shift.until = Math.min(shift.until, now);
  }
}
