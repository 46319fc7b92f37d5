import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { parseRedisTarget } from '../redis/target.js';

/**
 * The kinds of values that a variable can have: each reads a text and says, in the words of the documentation, what it
 * accepts. The message of a refusal continues the sentence `NAME="value": …`.
 */
export interface ValueType<T> {
  readonly schema: z.ZodType<T, string>;
  /** What is allowed, for the table and for error messages. */
  readonly allowed: string;
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A duration such as `250ms`, `5s`, `2m` or `1h`, read into ms. Limits are inclusive, in the same notation. */
export function duration(min: string, max: string): ValueType<number> {
  const minMs = toMs(min) as number;
  const maxMs = toMs(max) as number;
  const allowed = `duration, \`${min}\` to \`${max}\``;
  const problem = `must be a duration such as 250ms, 5s, 2m or 1h, from ${min} to ${max}`;
  return { allowed, schema: read(problem, (text) => within(toMs(text), minMs, maxMs)) };
}

/** A whole number. Limits are inclusive. */
export function integer(min: number, max: number): ValueType<number> {
  const problem = `must be a whole number from ${min} to ${max}`;
  const parse = (text: string) => (/^\d{1,15}$/.test(text) ? within(Number(text), min, max) : undefined);
  return { allowed: `whole number, \`${min}\` to \`${max}\``, schema: read(problem, parse) };
}

/** `true` or `false`. */
export function boolean(): ValueType<boolean> {
  const parse = (text: string) => (text === 'true' ? true : text === 'false' ? false : undefined);
  return { allowed: '`true` or `false`', schema: read('must be true or false', parse) };
}

/** One of a fixed list. */
export function oneOf<const T extends string>(values: readonly T[]): ValueType<T> {
  return {
    allowed: values.map((value) => `\`${value}\``).join(', '),
    schema: read(`must be one of ${values.join(', ')}`, (text) => values.find((value) => value === text)),
  };
}

/** An absolute path. */
export function directory(): ValueType<string> {
  const problem = 'must be the absolute path of a directory';
  return { allowed: 'absolute path', schema: read(problem, (text) => (isAbsolute(text) ? text : undefined)) };
}

/** Any text of so many characters, such as a password. */
export function shortText(max: number): ValueType<string> {
  const problem = `must have at most ${max} characters`;
  return { allowed: `text of at most ${max} characters`, schema: read(problem, (value) => (value.length <= max ? value : undefined)) };
}

/** The name of a namespace. */
export function namespace(): ValueType<string> {
  const problem = 'must be 1 to 64 of the characters A–Z a–z 0–9 . _ -';
  const parse = (text: string) => (/^[A-Za-z0-9._-]{1,64}$/.test(text) ? text : undefined);
  return { allowed: '1 to 64 of `A–Z a–z 0–9 . _ -`', schema: read(problem, parse) };
}

/** Where to listen. */
export interface Address {
  /** A host name or an IP address; IPv6 without brackets. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** `host:port`, with IPv6 addresses in brackets. */
export function address(): ValueType<Address> {
  return {
    allowed: '`host:port`, `[ipv6]:port`; port `0`: any free one',
    schema: read('must be host:port or [ipv6]:port with a port from 0 to 65535, e.g. 127.0.0.1:50051', parseAddress),
  };
}

/** The URL of a Redis. */
export function redisUrl() {
  const schema = z.string().transform((text, context) => {
    try {
      return parseRedisTarget(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });
  return {
    allowed:
      '`redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port],…/master[/db]`, `redis+cluster://[user:password@]host[:port],…`, ' +
      'the same with `rediss` (TLS), `unix:///path`',
    schema,
  };
}

/** The address as it is written. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True if only processes of this machine can reach the address. */
export function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Reads a text by a function that says undefined to what it does not accept. */
export function read<T>(problem: string, parse: (text: string) => T | undefined): z.ZodType<T, string> {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: problem });
    return z.NEVER;
  });
}

function toMs(text: string): number | undefined {
  const match = /^(\d{1,12})(ms|s|m|h)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65_535) return undefined;
  return { host: (match[1] ?? match[2]) as string, port: Number(match[3]) };
}
