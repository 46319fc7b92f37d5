import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { eventually } from './eventually.js';

/** Waits until the servers show the same grant as before; returns how long that took, ms. */
export async function backAgain(shownBy: Stafett, lock: Lock, name: string): Promise<number> {
  const since = performance.now();
  await eventually(`the servers to know the holder of ${name} again`, async () => {
    const { holder } = await shownBy.locks.get(name);
    return holder?.fencingToken === lock.fencingToken;
  });
  const ms = Math.round(performance.now() - since);
  console.log(`fault: a lock is known again after Redis came back: ${ms} ms`);
  return ms;
}
