/** Where a Redis is and how to log in there. */
export type RedisTarget = MasterTarget | ClusterTarget;
/** One master. */
export type MasterTarget = TcpTarget | UnixTarget | SentinelTarget;

export interface HostPort {
  /** A name or an IP address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface TcpTarget {
  readonly kind: 'tcp';
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
}

export interface UnixTarget {
  readonly kind: 'unix';
  readonly path: string;
}

/** The master that sentinels name. User and password are those of the master; the sentinels have their own, or none. */
export interface SentinelTarget {
  readonly kind: 'sentinel';
  readonly sentinels: readonly HostPort[];
  /** What the sentinels call it. */
  readonly master: string;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly db: number;
}

/** How to log in at sentinels, which a URL has no place for. */
export type SentinelLogin = Pick<SentinelTarget, 'sentinelUsername' | 'sentinelPassword'>;

/** The masters of a Redis Cluster, which any of its nodes names. User and password are the same on all. */
export interface ClusterTarget {
  readonly kind: 'cluster';
  /** Some of its nodes; one that answers is enough. */
  readonly nodes: readonly HostPort[];
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
}

export const REDIS_URL_FORMS =
  'redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],host[:port]/master[/db], ' +
  'redis+cluster://[user:password@]host[:port],host[:port], rediss://…, rediss+sentinel://… and rediss+cluster://… (the same over TLS) ' +
  'or unix:///path/to/redis.sock';

const CLUSTER = /^rediss?\+cluster:\/\/(?:([^@/]*)@)?([^@/]+)(.*)$/i;
const SENTINEL = /^rediss?\+sentinel:\/\/(?:([^@/]*)@)?([^@/]+)\/([^/]+)(?:\/([^/]*))?$/;

/**
 * Reads the address of a Redis.
 * @throws {Error} that says what is wrong with it, and never repeats the password.
 */
export function parseRedisTarget(url: string): RedisTarget {
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase();
  if (scheme === 'unix:') return parseUnix(url);
  if (scheme === 'redis+cluster:' || scheme === 'rediss+cluster:') return parseCluster(url, scheme === 'rediss+cluster:');
  if (scheme === 'redis+sentinel:' || scheme === 'rediss+sentinel:') return parseSentinel(url, scheme === 'rediss+sentinel:');
  if (scheme !== 'redis:' && scheme !== 'rediss:') throw new Error(`must be ${REDIS_URL_FORMS}`);
  return parseTcp(url, scheme === 'rediss:');
}

/** The target, with how to log in at its sentinels if it has some. */
export function withSentinelLogin(target: RedisTarget, { sentinelUsername, sentinelPassword }: SentinelLogin): RedisTarget {
  if (target.kind !== 'sentinel' || sentinelPassword === undefined) return target;
  return { ...target, sentinelPassword, ...(sentinelUsername !== undefined && { sentinelUsername }) };
}

/** One node of a cluster. */
export function nodeTarget({ nodes: _, ...login }: ClusterTarget, { host, port }: HostPort): TcpTarget {
  return { ...login, kind: 'tcp', db: 0, host, port };
}

/** The target for people and logs: without user and password. */
export function describeTarget(target: RedisTarget): string {
  if (target.kind === 'unix') return `unix://${target.path}`;
  const scheme = target.tls ? 'rediss' : 'redis';
  if (target.kind === 'cluster') return `${scheme}+cluster://${target.nodes.map(describeHost).join(',')}`;
  const db = target.db === 0 ? '' : `/${target.db}`;
  if (target.kind === 'tcp') return `${scheme}://${describeHost(target)}${db}`;
  return `${scheme}+sentinel://${target.sentinels.map(describeHost).join(',')}/${target.master}${db}`;
}

export function describeHost({ host, port }: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** A URL as it may be shown: the password is replaced by `***`. Works for text that is no valid URL, too. */
export function maskUrl(url: string): string {
  return url.replace(/^([^/@]*\/\/)?(.*)@/s, (_, scheme: string | undefined, login: string) => {
    const user = login.includes(':') ? login.slice(0, login.indexOf(':')) : '';
    return `${scheme ?? ''}${user}:***@`;
  });
}

function parseUnix(url: string): UnixTarget {
  const path = url.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
  if (!path.startsWith('/') || path.startsWith('//') || path.length < 2) {
    throw new Error('the path of a unix socket must be absolute: unix:///path/to/redis.sock');
  }
  if (path.includes('?')) throw new Error('a unix socket takes no parameters: unix:///path/to/redis.sock');
  return { kind: 'unix', path: decode(path, 'path') };
}

function parseTcp(text: string, tls: boolean): TcpTarget {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Error(`is not a valid URL (special characters in a password must be percent-encoded); must be ${REDIS_URL_FORMS}`);
  }
  if (url.hostname === '') throw new Error(`names no host; must be ${REDIS_URL_FORMS}`);
  if (url.search !== '' || url.hash !== '') throw new Error(`takes no parameters; must be ${REDIS_URL_FORMS}`);
  return {
    kind: 'tcp',
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    tls,
    ...(url.username !== '' && { username: decode(url.username, 'user') }),
    ...(url.password !== '' && { password: decode(url.password, 'password') }),
    db: parseDb(url.pathname),
  };
}

function parseSentinel(text: string, tls: boolean): SentinelTarget {
  const [, login, hosts = '', master = '', db = ''] = SENTINEL.exec(text) ?? [];
  if (hosts === '')
    throw new Error('must name sentinels and a master: redis+sentinel://[user:password@]host[:port],host[:port]/master[/db]');
  if (/[?#]/.test(master + db)) throw new Error('takes no parameters');
  return {
    kind: 'sentinel',
    sentinels: parseHosts(hosts, 26379, 'a sentinel'),
    master: decode(master, 'master'),
    tls,
    ...parseLogin(login),
    db: parseDb(`/${db}`),
  };
}

function parseCluster(text: string, tls: boolean): ClusterTarget {
  const [, login, hosts = '', rest = ''] = CLUSTER.exec(text) ?? [];
  if (hosts === '') throw new Error('must name nodes: redis+cluster://[user:password@]host[:port],host[:port]');
  if (/[?#]/.test(hosts + rest)) throw new Error('takes no parameters');
  if (rest !== '' && rest !== '/') throw new Error('a cluster has no databases: redis+cluster://[user:password@]host[:port],host[:port]');
  return { kind: 'cluster', nodes: parseHosts(hosts, 6379, 'a node'), tls, ...parseLogin(login) };
}

function parseLogin(login = ''): { username?: string; password?: string } {
  const [user = '', password = ''] = login.split(/:(.*)/s);
  return {
    ...(user !== '' && { username: decode(user, 'user') }),
    ...(password !== '' && { password: decode(password, 'password') }),
  };
}

function parseHosts(text: string, defaultPort: number, whose: string): HostPort[] {
  return text.split(',').map((each) => {
    const [, ipv6, name, port = String(defaultPort)] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(each) ?? [];
    const host = ipv6 ?? name;
    if (host === undefined || Number(port) > 65_535) throw new Error(`${JSON.stringify(each)} is no host[:port] of ${whose}`);
    return { host, port: Number(port) };
  });
}

function parseDb(pathname: string): number {
  if (pathname === '' || pathname === '/') return 0;
  if (!/^\/\d{1,5}$/.test(pathname)) throw new Error('the database after the host must be a number, e.g. redis://host:6379/0');
  return Number(pathname.slice(1));
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`the ${what} is not correctly percent-encoded`);
  }
}
