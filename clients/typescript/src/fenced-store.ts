import { StafettError } from './errors.js';

/** What a resource needs to offer to be fenced. */
export interface TokenStore {
  /** The highest token that has written the key, or undefined if none has. */
  get(key: string): Promise<bigint | undefined> | bigint | undefined;
  set(key: string, token: bigint): unknown;
}

/**
 * Shows how a resource checks a fencing token: it remembers the highest that it has seen for each key and refuses a lower
 * one. So a holder that was frozen, lost its lock without noticing and wakes up in the middle of a write, does no harm.
 *
 * This one is right within one process. **A real resource must compare and write in one step**, for instance in SQL:
 * ```sql
 * UPDATE tax_return SET body = :body, token = :token WHERE id = :id AND token <= :token  -- 0 rows: refused
 * ```
 * @example
 * const store = new FencedStore();
 * await stafett.locks.run('customer/42', (lock) => store.write('customer/42', lock.fencingToken, () => save(document)));
 */
export class FencedStore {
  readonly #tokens: TokenStore;
  readonly #busy = new Map<string, Promise<unknown>>();

  constructor(tokens: TokenStore = new Map<string, bigint>()) {
    this.#tokens = tokens;
  }

  /**
   * Runs `action` unless the key was written with a higher token before. Writes of one key run one after the other.
   * @throws {StafettError} STALE_TOKEN; `action` did not run.
   */
  write<T>(key: string, token: bigint, action: () => Promise<T> | T): Promise<T> {
    const result = Promise.resolve(this.#busy.get(key)).then(async () => {
      const highest = await this.#tokens.get(key);
      if (highest !== undefined && token < highest) throw staleToken(key, token, highest);
      await this.#tokens.set(key, token);
      return action();
    });
    const done = result.catch(() => {}).finally(() => this.#busy.get(key) === done && this.#busy.delete(key));
    this.#busy.set(key, done);
    return result;
  }
}

function staleToken(key: string, token: bigint, highest: bigint): StafettError {
  const message = `${JSON.stringify(key)} was written with fencing token ${highest}; ${token} is of an earlier holder, who has lost the lock`;
  return new StafettError('FAILED_PRECONDITION', 'STALE_TOKEN', message, { metadata: { key, token: `${token}`, highest: `${highest}` } });
}
