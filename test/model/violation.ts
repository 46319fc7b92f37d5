/** The engine did what the model does not permit, or left out what it demands. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export function show(value: unknown): string {
  return JSON.stringify(plain(value)) ?? 'nothing';
}

export function compare(what: string, expected: unknown, observed: unknown): void {
  if (show(expected) !== show(observed)) throw new Violation(`${what} ${show(observed)}; expected ${show(expected)}`);
}

/** Lua has one kind of table: an empty list may come as an empty map. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value);
  return entries.length === 0 ? [] : Object.fromEntries(entries.map(([key, each]) => [key, plain(each)]));
}
