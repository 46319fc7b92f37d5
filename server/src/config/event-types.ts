import { duration, read, type ValueType } from './types.js';

/** How much of the channels that a pattern fits is kept. */
export interface HistoryRule {
  readonly pattern: string;
  readonly size: number;
  readonly ageMs: number;
}

const SIZE_MAX = 1_000_000;

/** Rules such as `case/*=1000/1h,news=50/24h`. */
export function historyRules(): ValueType<readonly HistoryRule[]> {
  const problem = `must be rules such as case/*=1000/1h, separated by commas: a channel or a prefix with * at its end, how many (1 to ${SIZE_MAX}) and for how long (1s to 24h)`;
  return {
    allowed: 'rules `channel=size/age` or `prefix*=size/age`, separated by commas, e.g. `case/*=1000/1h,news=50/24h`',
    schema: read(problem, (text) => all(text, parseRule)),
  };
}

/** Origins such as `https://app.example.org`, or `*` for all. */
export function origins(): ValueType<readonly string[]> {
  return {
    allowed: 'origins, separated by commas, e.g. `https://app.example.org`; `*`: all',
    schema: read('must be origins such as https://app.example.org or http://localhost:3000, separated by commas, or *', (text) =>
      all(text, parseOrigin),
    ),
  };
}

/** What all parts were read into; undefined if one could not be, or came twice. */
function all<T>(text: string, parse: (part: string) => T | undefined): T[] | undefined {
  const parts = text.split(',').map((part) => part.trim());
  const values = parts.map(parse).filter((value) => value !== undefined);
  return values.length === parts.length && new Set(parts).size === parts.length ? values : undefined;
}

function parseRule(text: string): HistoryRule | undefined {
  const [, pattern = '', size = '', age = ''] = /^([^*]*\*?)=(\d{1,7})\/(\w+)$/.exec(text) ?? [];
  const ageMs = duration('1s', '24h').schema.safeParse(age);
  if (pattern === '' || pattern.startsWith('$') || !ageMs.success || Number(size) < 1 || Number(size) > SIZE_MAX) return undefined;
  return { pattern, size: Number(size), ageMs: ageMs.data };
}

function parseOrigin(text: string): string | undefined {
  if (text === '*') return text;
  try {
    const { origin } = new URL(text);
    return origin === text.toLowerCase() && /^https?:/.test(origin) ? origin : undefined;
  } catch {
    return undefined;
  }
}
