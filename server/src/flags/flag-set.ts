import { EventEmitter } from 'node:events';
import { FlagdCore, MemoryStorage } from '@openfeature/flagd-core';
import type { Logger } from 'pino';
import type { Step } from '../settings/mirror.js';
import type { NamespaceSettings } from '../settings/namespace-settings.js';
import { FLAGS_PREFIX, toFlagConfiguration } from './flag-configuration.js';
import { quietLogger } from './quiet-logger.js';

/** Rules come from whoever may set settings: they are interpreted, never compiled to a function of this process. */
export const INTERPRETED = { disableDynamicCodeGeneration: true };

/** The feature flags of one namespace, ready to be evaluated. */
export class FlagSet {
  /** `changed`: these flags are, or may be, others than before. */
  readonly events = new EventEmitter<{ changed: [keys: string[]] }>().setMaxListeners(0);
  readonly core: FlagdCore;
  readonly #settings: NamespaceSettings;
  readonly #logger: Logger;
  readonly #storage = new MemoryStorage(quietLogger(), INTERPRETED);
  #configuration = '';

  constructor(settings: NamespaceSettings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
    this.core = new FlagdCore(this.#storage, quietLogger(), INTERPRETED);
    settings.events.on('step', (step) => this.#onStep(step));
    this.#renew();
  }

  /** All of it, in flagd's schema. */
  get configuration(): string {
    return this.#configuration;
  }

  /** Resolves when there is something to evaluate: at once, but at the beginning. Redis may well be away. @throws {StafettError} GRACE_PERIOD */
  async ready(): Promise<void> {
    if (this.#settings.mirror.isLoaded) return;
    await this.#settings.current();
    this.#renew();
  }

  #onStep({ changes }: Step): void {
    if (!changes.some(({ key }) => key.startsWith(FLAGS_PREFIX))) return;
    const changed = this.#renew();
    if (changed.length > 0) this.events.emit('changed', changed);
  }

  #renew(): string[] {
    const configuration = toFlagConfiguration(this.#settings.mirror.settings.values());
    try {
      const changed = this.#storage.setConfigurations(configuration);
      this.#configuration = configuration;
      return changed;
    } catch (error) {
      // Each was checked when it was set; two that were set at the same time may still not fit together.
      this.#logger.error(
        { err: error, namespace: this.#settings.namespace },
        'the feature flags do not fit together; the last good ones stay',
      );
      return [];
    }
  }
}
