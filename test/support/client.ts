import { type ConnectOptions, connect, type HolderView, type Stafett } from '../../clients/typescript/src/index.js';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { freshNamespace } from './stub-stack.js';

/** A client of a server, or of a proxy before it, or of several, that is closed with the test or the file. Default: in a fresh namespace. */
export async function connectClient(
  servers: { readonly address: string } | readonly { readonly address: string }[],
  options: ConnectOptions = {},
): Promise<Stafett> {
  const addresses = [servers].flat().map(({ address }) => address);
  const stafett = await connect(addresses, { namespace: freshNamespace(), ...options });
  onCleanup(() => stafett.close());
  return stafett;
}

/** Waits until so many wait for the name, as the server sees it. */
export async function queued({ locks }: Stafett, name: string, count: number): Promise<void> {
  await eventually(`${count} to wait for ${name}`, async () => (await locks.get(name)).waiterCount === count);
}

/** Waits until somebody holds the name, and tells who. */
export function holder({ locks }: Stafett, name: string): Promise<HolderView> {
  const ask = async () => (await locks.get(name)).holder ?? (false as const); // undefined would count as an answer
  return eventually(`somebody to hold ${name}`, ask) as Promise<HolderView>;
}

/** Waits until nobody holds the name. */
export async function freed({ locks }: Stafett, name: string): Promise<void> {
  await eventually(`${name} to be free`, async () => (await locks.get(name)).holder === undefined);
}

/** A promise and what settles it. */
export function gate<T = void>() {
  let open: (value: T) => void = () => {};
  let refuse: (error: unknown) => void = () => {};
  const opened = new Promise<T>((resolve, reject) => {
    open = resolve;
    refuse = reject;
  });
  return { opened, open, refuse };
}
