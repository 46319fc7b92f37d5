import type { Masters } from '../redis/masters.js';
import { isOnTheMove } from '../redis/redirection.js';
import { readWitness } from './first-grace.js';
import type { NamespaceEngine } from './namespace-engine.js';

/** How often to look whether Redis has lost its data, ms. */
const LOOK_MS = 1_000;

/**
 * Looks whether Redis has lost its data, or is about to move it. A flush breaks no connection, and the move of a slot does not either: who has
 * nothing to ask would hear of it only at the next keepalive. Of a master that is made a replica for a moment nobody would hear at all.
 */
export class LossWatch {
  readonly #masters: Masters;
  readonly #namespaces: ReadonlyMap<string, NamespaceEngine>;
  readonly #timer: NodeJS.Timeout;
  /** When it was asked last, Redis had what was written in this life of its data. */
  #witnessed = false;

  constructor(masters: Masters, namespaces: ReadonlyMap<string, NamespaceEngine>) {
    this.#masters = masters;
    this.#namespaces = namespaces;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Of one master all is lost or nothing, so one key tells. The slots of a cluster move one by one. */
  #look(): void {
    for (const connection of this.#masters.all) if (connection.ready) void connection.look().catch(() => {}); // it connects again
    if (!this.#masters.cluster) void this.#askWitness().catch(() => {});
    else for (const engine of this.#namespaces.values()) void this.#askGate(engine);
  }

  async #askWitness(): Promise<void> {
    const connection = this.#masters.at(0);
    if (this.#namespaces.size === 0 || !connection.ready) return;
    const before = this.#witnessed;
    this.#witnessed = (await readWitness(connection))?.run === connection.run;
    if (before && !this.#witnessed) for (const engine of this.#namespaces.values()) engine.sweep();
  }

  async #askGate(engine: NamespaceEngine): Promise<void> {
    const { epoch } = engine;
    if (epoch.id === '' || !epoch.connection.ready) return;
    try {
      if (!(await epoch.isThere())) engine.sweep();
    } catch (error) {
      if (isOnTheMove(error)) await epoch.suspend().catch(() => {});
    }
  }
}
