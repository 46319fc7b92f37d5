import { randomUUID } from 'node:crypto';
import type { Lock } from '../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { StubClient } from './stub-client.js';

/** A namespace that no other test uses, so that tests can share servers. */
export function freshNamespace(): string {
  return `test-${randomUUID()}`;
}

/** A client of a server, or of a proxy before it, that is closed with the test or the file. */
export function connectStub({ port, grpcPort = port }: { grpcPort?: number; port?: number }, namespace?: string): StubClient {
  if (grpcPort === undefined) throw new Error('connectStub needs a port');
  const client = new StubClient(grpcPort, namespace);
  onCleanup(() => client.close());
  return client;
}

/** Waits until so many wait for the name, and shows it then. */
export function waiting(client: StubClient, name: string, count: number): Promise<Lock> {
  return eventually(`${count} to wait for ${JSON.stringify(name)}`, async () => {
    const lock = await client.getLock(name);
    return lock.waiterCount === count && lock; // undefined would count as an answer
  }) as Promise<Lock>;
}

/** Waits until nobody holds the name or waits for it. */
export async function free(client: StubClient, name: string): Promise<void> {
  await eventually(`${JSON.stringify(name)} to be free`, async () => {
    const { holder, waiterCount } = await client.getLock(name);
    return holder === undefined && waiterCount === 0;
  });
}

/** Resolves to true if the promise settles within the time. Only for what is to happen within a bound that is guaranteed. */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const settled = promise.then(
    () => true,
    () => true,
  );
  const result = await Promise.race([settled, late]);
  clearTimeout(timer);
  return result;
}
