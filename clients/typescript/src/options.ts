import { hostname } from 'node:os';
import { type DurationLike, toMs } from './durations.js';
import { type Lookup, systemLookup } from './resolving.js';

/** How to connect. All of it is optional. */
export interface ConnectOptions {
  /** The name of this service, shown wherever it holds something. */
  readonly client?: string;
  /** The version of this service. */
  readonly version?: string;
  /** The host or pod. Default: the host's name. */
  readonly host?: string;
  /** Isolates the names of one application from those of others. Default `default`. */
  readonly namespace?: string;
  /**
   * How long the session outlives its last keepalive: how long others wait when this process dies, and how long it may stall
   * without losing its locks. Default 15 s; the server allows 1 s up to its `max_ttl`, 30 s by default.
   */
  readonly ttl?: DurationLike;
  /**
   * So long before the session may run out everything that hangs on it counts as lost: the time that the work under a lock has
   * to stop when its `signal` is aborted. Default a tenth of the TTL, at least 200 ms; less than half of the TTL.
   */
  readonly safetyMargin?: DurationLike;
  /** How long `connect` tries, and later `locks.get`, `list` and `forceRelease`. Default 10 s. */
  readonly connectTimeout?: DurationLike;
  /** How long acquires without a `waitTimeout` outlast a broken connection. Default: without end. */
  readonly offlineTimeout?: DurationLike;
  /** Gives up the attempt to connect; later it has no effect. */
  readonly signal?: AbortSignal;
  /** How the IP addresses of a host's name are found; all of them are tried. Default: as the system does. */
  readonly lookup?: Lookup;
  /** A token for a server that asks for one. Sent as `authorization: Bearer …`. */
  readonly token?: string;
  /** TLS: `true` for the system's certificate authorities, or PEM texts. Default: none. */
  readonly tls?: boolean | { readonly ca?: Buffer; readonly key?: Buffer; readonly cert?: Buffer };
}

export interface Settings {
  readonly addresses: readonly string[];
  readonly client: { name: string; version: string; host: string };
  readonly namespace: string;
  readonly ttlMs: number;
  readonly safetyMarginMs: number;
  readonly connectTimeoutMs: number;
  readonly offlineTimeoutMs: number;
  readonly lookup: Lookup;
  readonly token: string | undefined;
  readonly tls: ConnectOptions['tls'];
}

const TTL_MS = 15_000;
const SAFETY_MARGIN_MS_MIN = 200;

/** @throws {TypeError} naming the option that is wrong. */
export function toSettings(address: string | readonly string[], options: ConnectOptions): Settings {
  const addresses = typeof address === 'string' ? address.split(',').map((each) => each.trim()) : [...address];
  if (addresses.length === 0 || addresses.some((each) => each === ''))
    throw new TypeError("address: must be 'host:port', or several of them");
  const ttlMs = toMs(options.ttl ?? TTL_MS, 'ttl');
  const safetyMarginMs = toMs(options.safetyMargin ?? Math.max(SAFETY_MARGIN_MS_MIN, ttlMs / 10), 'safetyMargin');
  if (safetyMarginMs >= ttlMs / 2)
    throw new TypeError(`safetyMargin: ${safetyMarginMs} ms; must be less than half of the ttl of ${ttlMs} ms`);
  return {
    addresses,
    client: { name: options.client ?? '', version: options.version ?? '', host: options.host ?? hostname() },
    namespace: options.namespace ?? 'default',
    ttlMs,
    safetyMarginMs,
    connectTimeoutMs: toMs(options.connectTimeout ?? 10_000, 'connectTimeout'),
    offlineTimeoutMs: options.offlineTimeout === undefined ? Number.POSITIVE_INFINITY : toMs(options.offlineTimeout, 'offlineTimeout'),
    lookup: options.lookup ?? systemLookup,
    token: options.token,
    tls: options.tls,
  };
}
