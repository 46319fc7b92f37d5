/** Where a Redis is and how to log in there. */
export type RedisTarget = TcpTarget | UnixTarget;

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

export const REDIS_URL_FORMS = 'redis://[user:password@]host[:port][/db], rediss://… (the same over TLS) or unix:///path/to/redis.sock';

const LATER = ['redis+sentinel:', 'redis+cluster:', 'rediss+sentinel:', 'rediss+cluster:'];

/**
 * Reads the address of a Redis.
 * @throws {Error} that says what is wrong with it, and never repeats the password.
 */
export function parseRedisTarget(url: string): RedisTarget {
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase();
  if (scheme === 'unix:') return parseUnix(url);
  if (scheme !== undefined && LATER.includes(scheme)) {
    throw new Error(`${scheme}// is not yet supported by this version; use ${REDIS_URL_FORMS}`);
  }
  if (scheme !== 'redis:' && scheme !== 'rediss:') throw new Error(`must be ${REDIS_URL_FORMS}`);
  return parseTcp(url, scheme === 'rediss:');
}

/** The target for people and logs: without user and password. */
export function describeTarget(target: RedisTarget): string {
  if (target.kind === 'unix') return `unix://${target.path}`;
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return `${target.tls ? 'rediss' : 'redis'}://${host}:${target.port}${target.db === 0 ? '' : `/${target.db}`}`;
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
