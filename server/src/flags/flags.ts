import type { Logger } from 'pino';
import type { Settings } from '../settings/settings.js';
import { FlagSet } from './flag-set.js';

/** The feature flags of those namespaces that somebody has asked for. */
export class Flags {
  readonly #settings: Settings;
  readonly #logger: Logger;
  readonly #sets = new Map<string, FlagSet>();

  constructor(settings: Settings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
  }

  /** Resolves when there is something to evaluate. @throws {StafettError} TOO_MANY_NAMESPACES, GRACE_PERIOD, REDIS_UNAVAILABLE */
  async of(namespace: string): Promise<FlagSet> {
    const set = this.#sets.get(namespace) ?? new FlagSet(this.#settings.of(namespace), this.#logger);
    this.#sets.set(namespace, set);
    await set.ready();
    return set;
  }
}
