import { mkdir, writeFile } from 'node:fs/promises';
import type { Profiler } from 'node:inspector';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type InstanceView, type Stafett, StafettError } from '@stafett/client';
import type { BusyNodeOptions } from './busy-node.js';
import { Children } from './children.js';
import { hotFunctions } from './hot-functions.js';

/** Stays there after the demo: one does not want to look at it before. */
const FILE = fileURLToPath(new URL('../../.stafett/demo.cpuprofile', import.meta.url));
export const SERVICE = 'register-search';
const SECONDS = 1;
const FUNCTIONS = 4;
const BUSY_PERCENT = 80;
const QUIET_PERCENT = 10;
const TIMEOUT_MS = 60_000;

export interface ProfileOptions {
  /** The nodes are connected to the last of the servers, who asks for the profile to the first. */
  readonly address: string;
  readonly namespace: string;
  readonly names: readonly string[];
  /** Which of them has the most to do. */
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Which of the nodes is the busiest, and with what? */
export async function profileBusiest({ address, namespace, names, seed, signal }: ProfileOptions): Promise<void> {
  const servers = address.split(',');
  await using stafett = await connect(servers[0] as string, { client: 'demo', namespace, signal });
  await using children = new Children();
  for (const [i, name] of names.entries()) {
    const busyPercent = i === seed % names.length ? BUSY_PERCENT : QUIET_PERCENT;
    const node: BusyNodeOptions = { name, address: servers.at(-1) as string, namespace, busyPercent };
    children.start('busy-node.ts', node);
  }
  const within = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const loads = await Promise.all((await allOf(stafett, names.length, within)).map((node) => loadOf(stafett, node, within)));
  loads.sort((a, b) => a.node.host.localeCompare(b.node.host));
  for (const { node, percent, lateMs } of loads) {
    console.log(
      `   ${node.host.padEnd(10)} busy for ${percent.toFixed(0).padStart(3)} % of its time; timers late by ${lateMs.toFixed(0)} ms (p99)`,
    );
  }
  const busiest = loads.reduce((a, b) => (b.percent > a.percent ? b : a)).node;
  await showProfile(stafett, busiest, within);
}

/** Waits until so many nodes are there. */
async function allOf({ instances }: Stafett, count: number, signal: AbortSignal): Promise<InstanceView[]> {
  const present = new Map<string, InstanceView>();
  try {
    for await (const event of instances.watch({ service: SERVICE, signal })) {
      if (event.type === 'present') present.set(event.instance.id, event.instance);
      if (event.type === 'gone') present.delete(event.instance.id);
      if (present.size === count) break;
    }
  } catch (cause) {
    throw new Error(`${present.size} of ${count} nodes can be asked for a CPU profile`, { cause });
  }
  return [...present.values()];
}

interface Load {
  readonly node: InstanceView;
  readonly percent: number;
  readonly lateMs: number;
}

async function loadOf({ instances }: Stafett, node: InstanceView, signal: AbortSignal): Promise<Load> {
  type Info = { readonly eventLoop: { readonly utilization: number; readonly delayMs: { readonly p99: number } } };
  const { eventLoop } = await instances.call(node.id, 'info', {}, { signal }).json<Info>();
  return { node, percent: 100 * eventLoop.utilization, lateMs: eventLoop.delayMs.p99 };
}

async function showProfile({ instances }: Stafett, { id, host }: InstanceView, signal: AbortSignal): Promise<void> {
  try {
    const bytes = await instances.call(id, 'cpu-profile', { seconds: SECONDS }, { signal }).bytes();
    await mkdir(dirname(FILE), { recursive: true });
    await writeFile(FILE, bytes);
    console.log(`   ${host} is the busiest. Its CPU profile of ${SECONDS} s says where the time goes:`);
    for (const { name, file, percent } of hotFunctions(JSON.parse(bytes.toString()) as Profiler.Profile, FUNCTIONS)) {
      console.log(`   ${percent.toFixed(0).padStart(7)} %  ${name.padEnd(20)} ${file}`.trimEnd());
    }
    console.log(`   For the Performance panel of Chrome DevTools: ${relative('.', FILE)}`);
  } catch (error) {
    if (!(error instanceof StafettError) || error.reason !== 'CALL_NOT_ALLOWED') throw error;
    console.log(`   ${host} is the busiest. No CPU profile, for the server lets nobody ask for one without STAFETT_PRIVILEGED_CALLS=true`);
  }
}
