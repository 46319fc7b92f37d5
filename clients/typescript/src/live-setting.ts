import { StafettError } from './errors.js';
import { parse, type Schema } from './schema.js';
import type { SettingOverride } from './setting-overrides.js';

/** Where the values come from. */
export interface SettingSource {
  /** A server tells of changes now. */
  readonly isLive: boolean;
  /** Resolves when there was something to tell. */
  ready(signal?: AbortSignal): Promise<void>;
}

/** A setting that is read synchronously and follows what is set. Made by `settings.define`. */
export class LiveSetting<T> {
  readonly key: string;
  readonly #schema: Schema<T>;
  readonly #fallback: T;
  readonly #source: SettingSource;
  readonly #listeners = new Set<(value: T, before: T) => void>();
  readonly #errorListeners = new Set<(error: StafettError) => void>();
  #value: T;
  #error: StafettError | undefined;
  #revision = 0n;
  #override: SettingOverride<T> | undefined;

  /** @internal */
  constructor(key: string, schema: Schema<T>, fallback: T, source: SettingSource) {
    this.key = key;
    this.#schema = schema;
    this.#fallback = fallback;
    this.#value = fallback;
    this.#source = source;
  }

  /** The last good value; the default as long as none was set, and after it was deleted. While there is an {@link override}, that. */
  get value(): T {
    return this.#override ? this.#override.value : this.#value;
  }

  /** What this process alone has in place of what is set, if somebody said so: see `settings.override`. */
  get override(): SettingOverride<T> | undefined {
    return this.#override;
  }

  /** @internal What it is without an override. */
  get followed(): T {
    return this.#value;
  }

  /** @internal */
  get fallback(): T {
    return this.#fallback;
  }

  /** The revision of what was set last, good or not; 0 if nothing was. */
  get revision(): bigint {
    return this.#revision;
  }

  /** True: no server tells of changes now, or none has done so yet. The value may be an old one. */
  get stale(): boolean {
    return !this.#source.isLive;
  }

  /** What is wrong with what was set last; the value is then the last good one. The `cause` is the schema's own error. */
  get error(): StafettError | undefined {
    return this.#error;
  }

  /**
   * Resolves when the value was heard of for the first time.
   * @throws the signal's reason; CLOSED when the client is closed before.
   * @example await batchSize.ready(AbortSignal.timeout(5_000)).catch(() => log.warn('starting with the default'));
   */
  ready(signal?: AbortSignal): Promise<void> {
    return this.#source.ready(signal);
  }

  /** Told each new value. Returns what ends that. */
  onChange(listener: (value: T, before: T) => void): () => void {
    const own = (value: T, before: T) => listener(value, before);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Told when a value was set that does not fit the schema, and is not taken over. Returns what ends that. */
  onError(listener: (error: StafettError) => void): () => void {
    const own = (error: StafettError) => listener(error);
    this.#errorListeners.add(own);
    return () => this.#errorListeners.delete(own);
  }

  /** @internal As the schema has it. @throws {StafettError} INVALID_SETTING */
  check(value: unknown): T {
    try {
      return parse(this.#schema, value);
    } catch (cause) {
      throw invalidSetting(this.key, cause);
    }
  }

  /** @internal undefined: there is none any more. */
  setOverride(override: SettingOverride<T> | undefined): void {
    const before = this.value;
    this.#override = override;
    this.#tellChange(before);
  }

  /** @internal undefined: there is none. */
  take(value: unknown, revision: bigint): void {
    if (revision === this.#revision) return;
    this.#revision = revision;
    const before = this.value;
    try {
      this.#value = value === undefined ? this.#fallback : this.check(value);
      this.#error = undefined;
    } catch (error) {
      this.#error = error as StafettError;
      tell(this.#errorListeners, (listener) => listener(this.#error as StafettError));
      return;
    }
    this.#tellChange(before);
  }

  #tellChange(before: T): void {
    const { value } = this;
    if (!isSame(value, before)) tell(this.#listeners, (listener) => listener(value, before));
  }
}

function invalidSetting(key: string, cause: unknown): StafettError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `the value that was set for ${JSON.stringify(key)} is not taken over: ${why}`;
  return new StafettError('FAILED_PRECONDITION', 'INVALID_SETTING', message, { cause, metadata: { key } });
}

function isSame(one: unknown, other: unknown): boolean {
  return Object.is(one, other) || (typeof one === 'object' && JSON.stringify(one) === JSON.stringify(other));
}

/** A listener that throws is no reason not to tell the others. */
function tell<L>(listeners: ReadonlySet<L>, call: (listener: L) => void): void {
  for (const listener of [...listeners]) {
    try {
      call(listener);
    } catch (error) {
      process.nextTick(() => {
        throw error; // as from a listener of an AbortSignal: not our caller's fault
      });
    }
  }
}
