import type { Connection } from './connection.js';
import { type DurationLike, toMs } from './durations.js';
import { StafettError } from './errors.js';
import { LiveSetting } from './live-setting.js';
import { LiveSettingGroup } from './live-setting-group.js';
import { checkSchema, parse, type Schema } from './schema.js';
import { type ChangeSettingOptions, SettingChanges } from './setting-changes.js';
import { SettingOverrides } from './setting-overrides.js';
import { type PastSettingView, type SettingEvent, type SettingView, toPastView, toSettingView } from './setting-views.js';
import { watchSettings } from './setting-watch.js';

/** The longest `ttl` of an override: seven days, ms. */
const OVERRIDE_MS_MAX = 7 * 24 * 60 * 60 * 1_000;

/**
 * Settings: configuration and feature flags that change while programs run.
 * Errors are {@link StafettError}s: CLOSED after `close()`, CONNECTION_FAILED when no server answered within the `connectTimeout`, and what the server refuses,
 * e.g. INVALID_FIELD for a feature flag that could not be evaluated.
 */
export class Settings {
  readonly #connection: Connection;
  readonly #changes: SettingChanges;
  readonly #groups = new Map<string, LiveSettingGroup>();
  readonly #overrides = new SettingOverrides((key) => this.readers().filter((reader) => reader.key === key));

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.#changes = new SettingChanges(connection);
  }

  /**
   * Sets a key to anything that JSON can hold. When it resolves, every server knows it or hears of it within milliseconds.
   * @throws {StafettError} SETTING_REVISION_MISMATCH, TOO_MANY_SETTINGS, INVALID_FIELD
   * @example await stafett.settings.set('mail/enabled', true, { ifRevision: seen.revision });
   */
  async set(key: string, value: unknown, options: ChangeSettingOptions = {}): Promise<SettingView> {
    const json = JSON.stringify(value) as string | undefined;
    if (json === undefined) throw new TypeError('value: must be something that JSON can hold; use delete to remove a setting');
    const { setting } = await this.#changes.make(options, (link, change, signal) =>
      link.settings.setSetting({ key, value: json, ...change }, { signal }),
    );
    if (!setting) throw new StafettError('INTERNAL', 'INTERNAL', 'the server did not say what it has set');
    this.#changes.see(setting.revision);
    return toSettingView(setting);
  }

  /** Deletes a setting. Resolves to false if there was none. @throws {StafettError} SETTING_REVISION_MISMATCH */
  async delete(key: string, options: ChangeSettingOptions = {}): Promise<boolean> {
    const { revision } = await this.#changes.make(options, (link, change, signal) =>
      link.settings.deleteSetting({ key, ...change }, { signal }),
    );
    this.#changes.see(revision);
    return revision !== 0n;
  }

  /** The setting as it is now in Redis; undefined if there is none. */
  async get(key: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<SettingView | undefined> {
    try {
      const { setting } = await this.#connection.call((link, ended) => link.settings.getSetting({ key }, { signal: ended }), signal);
      this.#changes.see(setting?.revision);
      return setting && toSettingView(setting);
    } catch (error) {
      if (error instanceof StafettError && error.reason === 'SETTING_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** All settings below a prefix, by key; of many the pages are fetched as they are read. */
  async *list(prefix = '', { signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<SettingView> {
    for (let pageToken = ''; ; ) {
      const request = { prefix, pageSize: 0, pageToken };
      const page = await this.#connection.call((link, ended) => link.settings.listSettings(request, { signal: ended }), signal);
      yield* page.settings.map(toSettingView);
      if (page.nextPageToken === '') return;
      pageToken = page.nextPageToken;
    }
  }

  /** The last ten changes of a key, latest first: who, when, to what. */
  async history(key: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<PastSettingView[]> {
    const { changes } = await this.#connection.call((link, ended) => link.settings.getSettingHistory({ key }, { signal: ended }), signal);
    return changes.flatMap(toPastView);
  }

  /**
   * The settings below a prefix, and then every change, in order. Goes on by itself at whichever server; if changes may have been missed a new
   * snapshot says so.
   * @example
   * for await (const event of stafett.settings.watch('mail/')) {
   *   if (event.type === 'snapshot') replaceAll(event.settings);
   *   else apply(event.setting);
   * }
   */
  watch(prefix = '', { signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<SettingEvent, void, undefined> {
    return watchSettings(this.#connection, { prefix, signal });
  }

  /**
   * A setting that is read synchronously, always fits the schema, and follows what is set. At first it has its default; see `ready`.
   * @throws {TypeError} if the default does not fit the schema.
   * @example
   * const batchSize = stafett.settings.define('mail/batch-size', z.number().int(), 100);
   * for (const batch of chunks(mails, batchSize.value)) …
   */
  define<T>(key: string, schema: Schema<T>, fallback: T): LiveSetting<T> {
    checkSchema(schema);
    try {
      parse(schema, fallback);
    } catch (cause) {
      throw new TypeError(`fallback: does not fit the schema of ${JSON.stringify(key)}`, { cause });
    }
    const prefix = key.slice(0, key.indexOf('/') + 1) || key;
    const group = this.#groups.get(prefix) ?? new LiveSettingGroup(this.#connection, prefix);
    this.#groups.set(prefix, group);
    const setting = new LiveSetting(key, schema, fallback, group);
    group.add(setting as LiveSetting<unknown>);
    this.#overrides.apply(setting as LiveSetting<unknown>);
    return setting;
  }

  /**
   * Gives the readers of a key in this process alone another value than is set, until `clearOverride`, or for the `ttl` (at most seven days).
   * Instances offer it to operators as the call `setting-override`.
   * @throws {StafettError} INVALID_SETTING if the value does not fit the schema; {TypeError} if no such setting is defined here.
   * @example stafett.settings.override('mail/batch-size', 10, { ttl: '15m' });
   */
  override(key: string, value: unknown, { ttl }: { readonly ttl?: DurationLike } = {}): void {
    const ttlMs = ttl === undefined ? undefined : toMs(ttl, 'ttl');
    if (ttlMs !== undefined && !(ttlMs >= 1 && ttlMs <= OVERRIDE_MS_MAX))
      throw new TypeError(`ttl: ${ttlMs} ms; must be 1 ms to seven days`);
    this.#overrides.set(key, value, ttlMs);
  }

  /** Lets the readers of a key have what is set again. False: there was no override. */
  clearOverride(key: string): boolean {
    return this.#overrides.clear(key);
  }

  /** @internal All that were defined. */
  readers(): LiveSetting<unknown>[] {
    return [...this.#groups.values()].flatMap(({ members }) => [...members]);
  }
}
