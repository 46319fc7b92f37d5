import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import { ConfigMemory } from './config-memory.js';
import { ManagedProcess, type Observer } from './managed-process.js';
import type { ProcessMetrics } from './process-metrics.js';
import type { Snapshot } from './snapshot.js';

/** A node of a process that is connected here. */
export interface Node {
  /** The engine knows it, as far as we have heard. */
  readonly joined: boolean;
  /** Makes it known to the engine, or known again. */
  enter(): void;
}

/** The managed processes of one namespace that somebody on this server cares for. */
export class ManagedProcesses {
  readonly memory: ConfigMemory;
  readonly #open = new Map<string, ManagedProcess>();
  /** Of each session that is connected here, its nodes. */
  readonly #nodes = new Map<string, Set<Node>>();

  constructor(
    readonly engine: NamespaceEngine,
    readonly metrics: ProcessMetrics,
  ) {
    this.memory = new ConfigMemory(engine, metrics);
    engine.interests.push(() => this.#open.size > 0);
    engine.events.on('process', (name) => this.#open.get(name)?.refresh());
    engine.events.on('asserted', (sid) => {
      for (const node of this.#nodes.get(sid) ?? []) node.enter();
    });
    engine.events.on('reask', () => this.#catchUp((node) => !node.joined));
    engine.events.on('epoch', () => this.#catchUp(() => true));
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

  /** A node that has asked to join, until `removeNode`: told when it has to enter again. */
  addNode(sid: string, node: Node): void {
    const nodes = this.#nodes.get(sid) ?? new Set();
    this.#nodes.set(sid, nodes.add(node));
  }

  removeNode(sid: string, node: Node): void {
    const nodes = this.#nodes.get(sid);
    nodes?.delete(node);
    if (nodes?.size === 0) this.#nodes.delete(sid);
  }

  #learn({ name, config }: Snapshot): void {
    if (config) this.memory.learn(name, config);
  }

  #catchUp(mustEnter: (node: Node) => boolean): void {
    for (const nodes of this.#nodes.values()) for (const node of nodes) if (mustEnter(node)) node.enter();
    for (const process of this.#open.values()) process.refresh();
  }
}
