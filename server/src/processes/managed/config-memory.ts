import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { ConfigOffer, ConfigView, ProcessView } from '../../engine/process-commands.js';
import type { ProcessMetrics } from './process-metrics.js';
import { list } from './snapshot.js';

/** How often the configs that other servers know are looked up, ms. */
const LOOK_MS = 15_000;
/** Processes in one command. */
const PAGE = 200;

/**
 * The configs of one namespace's managed processes, so that they are known again when Redis has lost its data, though no node should be
 * left that remembers: each server remembers all of them.
 */
export class ConfigMemory {
  readonly #engine: NamespaceEngine;
  readonly #metrics: ProcessMetrics;
  #configs = new Map<string, ConfigOffer>();

  constructor(engine: NamespaceEngine, metrics: ProcessMetrics) {
    this.#engine = engine;
    this.#metrics = metrics;
    engine.events.on('epoch', () => this.#assert());
    setInterval(() => void this.#look(), LOOK_MS).unref();
    void this.#look();
  }

  recall(name: string): ConfigOffer | false {
    return this.#configs.get(name) ?? false;
  }

  learn(name: string, [workers, running, revision]: ConfigView): void {
    if (revision >= (this.#configs.get(name)?.[2] ?? 0)) this.#configs.set(name, [workers, running, revision]);
  }

  forget(name: string): void {
    this.#configs.delete(name);
  }

  #assert(): void {
    const known = [...this.#configs].map(([name, offer]): [string, ...ConfigOffer] => [name, ...offer]);
    for (let i = 0; i < known.length; i += PAGE) this.#engine.submit<'remember'>(['remember', known.slice(i, i + PAGE)], () => {});
  }

  /** What Redis has replaces what is remembered, unless it has lost it meanwhile. */
  async #look(): Promise<void> {
    const { epoch } = this.#engine;
    const before = epoch.id;
    try {
      const views = await this.#all();
      if (before !== '' && epoch.id !== before) return;
      const known = this.#configs;
      this.#configs = new Map();
      for (const [name, config] of views) {
        const newer = known.get(name); // learnt while the others were looked up
        if (newer) this.#configs.set(name, newer);
        this.learn(name, config);
      }
      this.#metrics.setWorkers(this.#engine.namespace, views);
    } catch {
      // Redis cannot be reached: what is remembered is all the more of use
    }
  }

  async #all(): Promise<ProcessView[]> {
    const all: ProcessView[] = [];
    for (let after = ''; ; ) {
      const [, views, last] = await this.#engine.run<'processes'>(['processes', after, PAGE]);
      all.push(...list(views));
      if (last === '') return all;
      after = last;
    }
  }
}
