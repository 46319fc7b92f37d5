import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, type Stafett } from '@stafett/client';
import { clockMs } from '../events/mark.js';
import { start, stop } from '../harness/child.js';
import type { CleanupStack } from '../harness/cleanup.js';
import { cpuSeconds } from '../harness/cpu.js';
import { residentBytes } from '../harness/memory.js';
import { repositoryRoot } from '../harness/paths.js';
import type { RedisServer } from '../harness/redis-server.js';
import { startStafett } from '../harness/stafett-server.js';
import { formatMs, formatNumber, formatTable } from '../harness/table.js';
import type { Began, FromNodes, NodesSettings } from './nodes.js';
import type { Options } from './options.js';

const PROGRAM = fileURLToPath(new URL('./nodes.ts', import.meta.url));
const TTL_MS = 5_000;
/** Nodes in one operating system process; the one that dies has its own. */
const NODES_IN_PROCESS = 7;
/** Nothing begins for so long: it has settled. */
const CALM_MS = 2_000;
const AT_ONCE = 50;

/** Which worker began last in each slot. */
class Cluster {
  readonly slots = new Map<string, Began>();
  begun = 0;
  readonly #joined: Promise<unknown>[] = [];

  add(settings: NodesSettings, cleanup: CleanupStack): ChildProcess {
    const args = ['--import', 'tsx', PROGRAM, JSON.stringify(settings)];
    const child = start(process.execPath, args, { cwd: repositoryRoot, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    cleanup.add(() => stop(child, 'SIGKILL'));
    this.#joined.push(new Promise<void>((resolve) => child.on('message', (message: FromNodes) => this.#onMessage(message, resolve))));
    return child;
  }

  async joined(): Promise<void> {
    await Promise.all(this.#joined);
  }

  /** Resolves when so many slots have begun, and nothing has for a while. */
  async settled(slots: number): Promise<void> {
    for (let last = -1; this.slots.size < slots || this.begun !== last; ) {
      last = this.begun;
      await sleep(CALM_MS);
    }
  }

  countOf(node: string): number {
    return [...this.slots.values()].filter((began) => began.node === node).length;
  }

  #onMessage(message: FromNodes, onJoined: () => void): void {
    if (message.type === 'joined') return onJoined();
    for (const worker of message.workers) this.slots.set(worker.slot, worker);
    this.begun += message.workers.length;
  }
}

/** Many processes, of which all nodes are part: they begin at once, then a node is killed. */
export async function takeover(redis: RedisServer, options: Options, cleanup: CleanupStack): Promise<void> {
  const { processes, workers } = options;
  const server = await startStafett(redis.url, cleanup);
  const names = Array.from({ length: options.nodes }, (_, i) => `node-${i}`);
  const [mortal, ...others] = names as [string, ...string[]];
  const cluster = new Cluster();
  const settings = { address: server.grpcAddress, ttlMs: TTL_MS, processes, workers };
  const joinedFrom = clockMs();
  const victim = cluster.add({ ...settings, nodes: [mortal] }, cleanup);
  for (let i = 0; i < others.length; i += NODES_IN_PROCESS) {
    cluster.add({ ...settings, nodes: others.slice(i, i + NODES_IN_PROCESS) }, cleanup);
  }
  process.stderr.write(`${options.nodes} nodes join ${processes} processes, about a second for each thousand streams\n`);
  await cluster.joined();
  const joinMs = clockMs() - joinedFrom;
  const admin = await connect(server.grpcAddress);
  cleanup.add(() => admin.close());
  const startMs = await startAll(admin, cluster, processes, workers);
  const counts = names.map((name) => cluster.countOf(name));
  const idle = await cpuWhile(server.pid, () => sleep(CALM_MS));
  const memory = residentBytes(server.pid);

  const { first, last, taken, others: moved } = await kill(victim, mortal, cluster);
  console.log(
    `\n## ${formatNumber(processes)} managed processes × ${options.nodes} nodes, ${workers} workers each, session TTL ${TTL_MS / 1000} s\n`,
  );
  const spread = `${Math.min(...counts)}–${Math.max(...counts)}`;
  const rows = [
    ['all nodes have joined all processes, s', formatMs(joinMs / 1000)],
    [`all ${formatNumber(processes * workers)} workers run after they were told to start, s`, formatMs(startMs / 1000)],
    ['workers on a node, least–most', spread],
    ['server: memory, MiB', formatNumber(memory / 2 ** 20)],
    ['server: CPU while nothing changes, %', formatNumber(100 * idle)],
    ['a node is killed: slots that it had', formatNumber(taken)],
    ['… until the first of them runs elsewhere (its session has to run out), s', formatMs(first / 1000)],
    ['… until the last of them does, s', formatMs(last / 1000)],
    ['… between the two, s', formatMs((last - first) / 1000)],
    ['… other workers that were moved', formatNumber(moved)],
  ];
  console.log(formatTable(['', ''], rows));
}

/** @returns how long it took until the last worker began, ms. */
async function startAll(admin: Stafett, cluster: Cluster, processes: number, workers: number): Promise<number> {
  const startedAt = clockMs();
  const names = Array.from({ length: processes }, (_, i) => `process-${i}`);
  const lane = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) await admin.processes.update(name, { status: 'running' });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  await cluster.settled(processes * workers);
  return Math.max(...[...cluster.slots.values()].map(({ at }) => at)) - startedAt;
}

/** Times in ms from the kill. */
async function kill(victim: ChildProcess, mortal: string, cluster: Cluster) {
  const lost = [...cluster.slots.values()].filter(({ node }) => node === mortal).map(({ slot }) => slot);
  const before = cluster.begun;
  const killedAt = clockMs();
  victim.kill('SIGKILL');
  while (lost.some((slot) => cluster.slots.get(slot)?.node === mortal)) await sleep(50);
  await sleep(CALM_MS);
  const times = lost.map((slot) => (cluster.slots.get(slot) as Began).at - killedAt);
  return { first: Math.min(...times), last: Math.max(...times), taken: lost.length, others: cluster.begun - before - lost.length };
}

/** Of one core. */
async function cpuWhile(pid: number, action: () => Promise<unknown>): Promise<number> {
  const [cpuBefore, beganAt] = [cpuSeconds(pid), performance.now()];
  await action();
  return (cpuSeconds(pid) - cpuBefore) / ((performance.now() - beganAt) / 1000);
}
