import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import { ConfigMemory } from './config-memory.js';
import { ManagedProcess, type Observer } from './managed-process.js';
import type { ProcessMetrics } from './process-metrics.js';
import type { Snapshot } from './snapshot.js';

/** The managed processes of one namespace that somebody on this server cares for. */
export class ManagedProcesses {
  readonly memory: ConfigMemory;
  readonly #open = new Map<string, ManagedProcess>();

  constructor(
    readonly engine: NamespaceEngine,
    readonly metrics: ProcessMetrics,
  ) {
    this.memory = new ConfigMemory(engine, metrics);
    engine.interests.push(() => this.#open.size > 0);
    engine.events.on('process', (name) => this.#open.get(name)?.refresh());
    engine.events.on('reask', () => this.#refreshAll());
    engine.events.on('epoch', () => this.#refreshAll());
  }

  /** To be given an observer at once, and given back when it is gone. */
  open(name: string): ManagedProcess {
    let process = this.#open.get(name);
    if (!process) {
      const { engine, metrics } = this;
      process = new ManagedProcess({ name, engine, metrics, onSnapshot: (snapshot) => this.#learn(snapshot) });
      this.#open.set(name, process);
    }
    return process;
  }

  remove(process: ManagedProcess, observer: Observer): void {
    process.remove(observer);
    if (!process.isIdle) return;
    process.close();
    this.#open.delete(process.name);
  }

  #learn({ name, config }: Snapshot): void {
    if (config) this.memory.learn(name, config);
  }

  #refreshAll(): void {
    for (const process of this.#open.values()) process.refresh();
  }
}
