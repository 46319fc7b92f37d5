import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where one server is. */
export interface Target {
  /** For the channel: `host:port`, the host an IP address if it was resolved. */
  readonly address: string;
  /** What the server is called, for TLS: the `host:port` that was asked for. */
  readonly authority?: string;
}

/** The IP addresses of a host. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** `host:port`, but neither an address with a scheme (`unix:`, `dns:///`) nor an IPv6 address, which stands in brackets. */
const HOST_AND_PORT = /^([^:/[\]]+):(\d+)$/;

export async function systemLookup(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** How long a name server may take, ms; then what it said last counts. */
const PATIENCE_MS = 2_000;

/**
 * Finds every server behind some addresses. A name may stand for several, and gRPC's own channel only goes from one to the next when
 * it cannot connect, but not from one that connects and does not answer.
 */
export class Resolver {
  readonly #addresses: readonly string[];
  readonly #lookUp: Lookup;
  readonly #last = new Map<string, readonly string[]>();

  constructor(addresses: readonly string[], lookUp: Lookup) {
    this.#addresses = addresses;
    this.#lookUp = lookUp;
  }

  /** In the order of the addresses. Never empty: for what cannot be resolved the channel says why. */
  async targets(): Promise<Target[]> {
    return (await Promise.all(this.#addresses.map((address) => this.#resolve(address)))).flat();
  }

  async #resolve(address: string): Promise<Target[]> {
    const [, host = '', port] = HOST_AND_PORT.exec(address) ?? [];
    if (host === '' || isIP(host) !== 0) return [{ address }];
    const ips = await this.#ipsOf(host);
    if (ips.length === 0) return [{ address }];
    return ips.map((ip) => ({ address: isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`, authority: address }));
  }

  async #ipsOf(host: string): Promise<readonly string[]> {
    const last = this.#last.get(host) ?? [];
    const enough = new AbortController();
    const late = sleep(PATIENCE_MS, last, { signal: enough.signal }).catch(() => last);
    const found = this.#lookUp(host).catch(() => last);
    const ips = await Promise.race([found, late]);
    enough.abort();
    if (ips.length > 0) this.#last.set(host, ips);
    return ips;
  }
}
