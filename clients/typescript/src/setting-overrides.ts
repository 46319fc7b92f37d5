/** What one process has in place of what is set. */
export interface SettingOverride<T> {
  readonly value: T;
  /** By this process's clock, to be shown. */
  readonly since: Date;
  /** When it ends by itself; undefined: not before it is cleared, or the process ends. */
  readonly until: Date | undefined;
}

/** Whoever follows the setting of a key. */
interface Reader {
  readonly key: string;
  /** As its schema has it. @throws {StafettError} INVALID_SETTING */
  check(value: unknown): unknown;
  setOverride(override: SettingOverride<unknown> | undefined): void;
}

interface Active extends SettingOverride<unknown> {
  readonly timer: NodeJS.Timeout | undefined;
}

/** The overrides of this process, by key. They hold for all readers of a key, also for those that are defined later. */
export class SettingOverrides {
  readonly #active = new Map<string, Active>();
  readonly #readersOf: (key: string) => readonly Reader[];

  constructor(readersOf: (key: string) => readonly Reader[]) {
    this.#readersOf = readersOf;
  }

  /** @throws {StafettError} INVALID_SETTING if it does not fit the schema of any reader; nothing is changed then. */
  set(key: string, value: unknown, ttlMs: number | undefined): void {
    const readers = this.#readersOf(key);
    if (readers.length === 0) throw new TypeError(`key: no setting ${JSON.stringify(key)} is defined in this process`);
    const values = readers.map((reader) => reader.check(value));
    clearTimeout(this.#active.get(key)?.timer);
    const [since, timer] = [new Date(), ttlMs === undefined ? undefined : setTimeout(() => this.clear(key), ttlMs).unref()];
    const until = ttlMs === undefined ? undefined : new Date(since.getTime() + ttlMs);
    this.#active.set(key, { value, since, until, timer });
    for (const [i, reader] of readers.entries()) reader.setOverride({ value: values[i], since, until });
  }

  /** @returns whether there was one. */
  clear(key: string): boolean {
    clearTimeout(this.#active.get(key)?.timer);
    const existed = this.#active.delete(key);
    for (const reader of this.#readersOf(key)) reader.setOverride(undefined);
    return existed;
  }

  /** A reader that was just defined; one whose schema does not take the value goes on with what is set. */
  apply(reader: Reader): void {
    const active = this.#active.get(reader.key);
    if (!active) return;
    const { value, since, until } = active;
    try {
      reader.setOverride({ value: reader.check(value), since, until });
    } catch {}
  }
}
