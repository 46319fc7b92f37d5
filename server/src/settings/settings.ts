import type { Logger } from 'pino';
import { decodeSettingMessage } from '../engine/codec.js';
import type { Engine } from '../engine/engine.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { parseEpochPrefix, SETTINGS_CHANNEL } from '../redis/keys.js';
import type { Subscriber } from '../redis/subscriber.js';
import { NamespaceSettings } from './namespace-settings.js';
import { type Saved, SnapshotFiles } from './snapshot-files.js';

/** How often what pub/sub may have lost is looked for: where somebody listens here, and everywhere, ms. */
const RECHECK_MS = 1_000;
const RECHECK_ALL_MS = 30_000;

export interface SettingsOptions {
  readonly engine: Engine;
  readonly subscriber: Subscriber;
  readonly logger: Logger;
  readonly maxSettings: number;
  /** Where they are kept in files; undefined: nowhere. */
  readonly settingsDir: string | undefined;
}

/**
 * The settings of all namespaces that this server has heard of, also of those that nobody asks it for: it may be the last one that
 * remembers them.
 */
export class Settings {
  readonly #options: SettingsOptions;
  readonly #all = new Map<string, NamespaceSettings>();
  readonly #files: SnapshotFiles | undefined;
  readonly #stops: (() => unknown)[] = [];
  #saved = new Map<string, Saved>();

  constructor(options: SettingsOptions) {
    this.#options = options;
    if (options.settingsDir !== undefined) this.#files = new SnapshotFiles(options.settingsDir, options.logger);
  }

  /** To be called before the engine starts, so that no namespace is missed. @throws {Error} for the operator. */
  async start(): Promise<void> {
    const { engine, subscriber } = this.#options;
    this.#saved = (await this.#files?.load()) ?? this.#saved;
    engine.onOpen((opened) => this.#open(opened));
    this.#stops.push(await subscriber.subscribe(SETTINGS_CHANNEL, (message) => this.#onMessage(message)));
    this.#stops.push(subscriber.onReconnect(() => this.#wake(() => true)));
    const often = setInterval(() => this.#wake(({ events }) => events.listenerCount('step') > this.#ownListeners), RECHECK_MS).unref();
    const seldom = setInterval(() => this.#wake(() => true), RECHECK_ALL_MS).unref();
    this.#stops.push(
      () => clearInterval(often),
      () => clearInterval(seldom),
    );
  }

  /** Opens what was saved in files, which others may not know of. To be called once the engine has started. */
  openSaved(): void {
    for (const namespace of this.#saved.keys()) this.of(namespace);
  }

  /** @throws {StafettError} TOO_MANY_NAMESPACES */
  of(namespace: string): NamespaceSettings {
    this.#options.engine.namespace(namespace);
    return this.#all.get(namespace) as NamespaceSettings;
  }

  /** Resolves when all is written that is to be in files. */
  async close(): Promise<void> {
    for (const stop of this.#stops) void stop();
    await this.#files?.flush();
  }

  #open(engine: NamespaceEngine): void {
    const { logger, maxSettings } = this.#options;
    const { namespace } = engine;
    const settings = new NamespaceSettings({ engine, logger, maxSettings, saved: this.#saved.get(namespace) });
    this.#all.set(namespace, settings);
    if (this.#files) settings.events.on('step', () => this.#save(settings));
  }

  get #ownListeners(): number {
    return this.#files ? 1 : 0;
  }

  #save(settings: NamespaceSettings): void {
    const save = () => ({ epoch: settings.epoch, revision: settings.mirror.revision, settings: [...settings.mirror.settings.values()] });
    this.#files?.schedule(settings.namespace, save as () => Saved);
  }

  #wake(which: (settings: NamespaceSettings) => boolean): void {
    for (const settings of this.#all.values()) if (which(settings)) settings.wake();
  }

  #onMessage(message: Buffer): void {
    const [prefix, change] = decodeSettingMessage(message);
    const { namespace, epoch } = parseEpochPrefix(prefix);
    try {
      this.of(namespace).hear(epoch, change);
    } catch (error) {
      this.#options.logger.warn({ namespace, problem: (error as Error).message }, 'settings of a namespace are not looked after here');
    }
  }
}
