import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Worker } from '@stafett/client';

/** One node that sends letters: a process that offers its hands to the managed process `mail-sender`. */

export interface MailNodeOptions {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
  readonly ttl: string;
  readonly workers: number;
}

/** What it tells the coordinator: a worker begins, or has stopped. */
export interface MailNodeMessage {
  readonly type: 'began' | 'stopped';
  readonly token: string;
  /** By the machine's monotonic clock, which is the same for all processes, ms. */
  readonly at: number;
}

const LETTER_MS = 20;
const { name, address, namespace, ttl, workers }: MailNodeOptions = JSON.parse(process.argv[2] as string);
const stafett = await connect(address, { client: 'mail-service', host: name, namespace, ttl });
const managed = stafett.processes.manage('mail-sender', { workers }, sendLetters);
process.on('disconnect', () => void leave());

async function sendLetters({ signal, fencingToken }: Worker): Promise<void> {
  tell('began', fencingToken);
  while (!signal.aborted) await sleep(LETTER_MS); // a letter
  tell('stopped', fencingToken);
}

function tell(type: MailNodeMessage['type'], token: bigint): void {
  const message: MailNodeMessage = { type, token: String(token), at: Number(process.hrtime.bigint()) / 1e6 };
  if (process.connected) process.send?.(message);
}

/** The coordinator is done, or gone. */
async function leave(): Promise<void> {
  await managed.stop();
  await stafett.close().catch(() => {});
  process.exit();
}
