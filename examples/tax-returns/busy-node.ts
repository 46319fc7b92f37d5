import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@stafett/client';
import { SERVICE } from './profile.js';
import { REGISTER, similarTo } from './similar-names.js';

/** A node that searches the register, and can be asked for a CPU profile of it. */

export interface BusyNodeOptions {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
  /** How much of its time it is at work. */
  readonly busyPercent: number;
}

/** Work and rest together. */
const ROUND_MS = 50;

const { name, address, namespace, busyPercent }: BusyNodeOptions = JSON.parse(process.argv[2] as string);
const leaving = new AbortController();
process.on('disconnect', () => leaving.abort()); // the coordinator is done, or gone

async function serve(signal: AbortSignal): Promise<void> {
  await using stafett = await connect(address, { client: SERVICE, host: name, namespace, signal });
  await stafett.instances.serve({ builtIns: { 'cpu-profile': true }, signal });
  while (!signal.aborted) {
    search((ROUND_MS * busyPercent) / 100);
    await sleep(ROUND_MS * (1 - busyPercent / 100));
  }
}

function search(forMs: number): void {
  const until = performance.now() + forMs;
  for (let i = 0; performance.now() < until; i++) similarTo(REGISTER[i % REGISTER.length] as string, REGISTER);
}

await serve(leaving.signal).catch((error: unknown) => {
  if (!leaving.signal.aborted) throw error;
});
