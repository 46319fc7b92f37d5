import { setTimeout as sleep } from 'node:timers/promises';
import type { IncomingCall } from '../handler.js';

/** Waits, telling each second how much of it is over. @throws when nobody wants the answer any more. */
export async function waitWithProgress(seconds: number, what: string, call: IncomingCall): Promise<void> {
  for (let passed = 0; passed < seconds; passed++) {
    call.progress((100 * passed) / seconds, `${what}: ${Math.floor(passed)} of ${seconds} s`);
    await sleep(Math.min(1, seconds - passed) * 1_000, undefined, { signal: call.signal });
  }
}
