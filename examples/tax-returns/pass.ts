import type { NodeMessage, NodeOptions } from './node.js';
import { type NodeEvents, NodeProcess } from './node-process.js';
import type { Outage, Takeover } from './outage.js';
import type { Transaction } from './plan.js';

export const NODES = ['node-1', 'node-2', 'node-3'];
export const VICTIM = 'node-2';

export interface PassOptions extends Omit<NodeOptions, 'name'> {
  readonly transactions: readonly Transaction[];
  /** Half-way one of the nodes is killed, in the middle of a transaction. None: all nodes live. */
  readonly outage: Outage | undefined;
  readonly signal: AbortSignal;
  onProgress(done: number, line: string): void;
}

export interface PassResult {
  readonly durationMs: number;
  readonly waitsMs: readonly number[];
  readonly takeovers: readonly Takeover[];
  /** How often a node found a transaction half done, and finished it. */
  readonly finishedForOthers: number;
}

/** Hands out all transactions to three node processes and waits until they are done. */
export class Pass implements NodeEvents {
  readonly #options: PassOptions;
  readonly #todo: Transaction[];
  readonly #nodes: NodeProcess[] = [];
  /** By id: what a node says last may arrive after its end, when another one has been handed the transaction already. */
  readonly #done = new Set<string>();
  readonly #waitsMs: number[] = [];
  /** At locks that were taken over. */
  readonly #looks: Promise<void>[] = [];
  #ready = 0;
  #startedAt = 0;
  #finishedForOthers = 0;
  #mayStrike: boolean;
  #settle: (error?: unknown) => void = () => {};

  constructor(options: PassOptions) {
    this.#options = options;
    this.#todo = [...options.transactions];
    this.#mayStrike = options.outage !== undefined;
  }

  async run(): Promise<PassResult> {
    try {
      await this.#workThrough();
      const durationMs = performance.now() - this.#startedAt;
      await Promise.all(this.#looks);
      await Promise.all(this.#nodes.map((node) => node.leave()));
      const takeovers = this.#options.outage?.takeovers ?? [];
      return { durationMs, waitsMs: this.#waitsMs, takeovers, finishedForOthers: this.#finishedForOthers };
    } finally {
      await Promise.all(this.#nodes.map((node) => node.kill())); // unless they have left
    }
  }

  async #workThrough(): Promise<void> {
    const { signal, dir, address, namespace, ttl, seed } = this.#options;
    signal.throwIfAborted();
    const onAbort = () => this.#settle(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = (error) => (error === undefined ? resolve() : reject(error));
        for (const [i, name] of NODES.entries())
          this.#nodes.push(new NodeProcess({ name, dir, address, namespace, ttl, seed: seed + i }, this));
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  onMessage(node: NodeProcess, message: NodeMessage): void {
    if (message.type === 'ready') this.#onReady();
    if (message.type === 'began') this.#onBegan(node, message.transaction, message.waitedMs);
    if (message.type === 'finished-for-another') this.#finishedForOthers++;
    if (message.type === 'done') this.#onDone(node, message.transaction);
    if (message.type === 'lock-lost') this.#onLockLost(node, message.transaction);
    if (message.type === 'failed') this.#settle(new Error(`${node.name}: ${message.transaction}: ${message.error}`));
  }

  /** What a node had in hand goes to the others, first of all. If it had been done already, that is found out. */
  onExit(node: NodeProcess, how: string): void {
    if (!node.isEnding) this.#settle(new Error(`${node.name} ended by itself: ${how}`));
    this.#todo.unshift(...node.underway.values());
    this.#handOut();
  }

  /** All begin at once: three processes that start take their time, and one alone does no damage. */
  #onReady(): void {
    if (++this.#ready < NODES.length) return;
    this.#startedAt = performance.now();
    this.#handOut();
  }

  #onBegan(node: NodeProcess, id: string, waitedMs: number): void {
    const transaction = node.underway.get(id);
    if (!transaction || node.isEnding) return;
    this.#waitsMs.push(waitedMs);
    this.#options.outage?.onBegan(transaction);
    const isHalfWay = this.#done.size >= this.#options.transactions.length / 2;
    if (this.#mayStrike && isHalfWay && node.name === VICTIM) this.#strike(node).catch(this.#settle);
  }

  async #strike(node: NodeProcess): Promise<void> {
    this.#mayStrike = false;
    this.#mayStrike = (await this.#options.outage?.strike(node)) === false;
  }

  #onDone(node: NodeProcess, id: string): void {
    const { outage, transactions, onProgress } = this.#options;
    const transaction = node.underway.get(id);
    node.underway.delete(id);
    this.#done.add(id);
    if (outage && transaction) {
      const look = outage.onDone(transaction);
      look.catch(this.#settle);
      this.#looks.push(look);
    }
    onProgress(this.#done.size, this.#line());
    this.#handOut();
    if (this.#done.size === transactions.length && this.#nodes.every((each) => each.isEnding || each.underway.size === 0)) this.#settle();
  }

  /** As if the node was dead, but it is alive. Happens on a machine that has far too much to do. */
  #onLockLost(node: NodeProcess, id: string): void {
    const transaction = node.underway.get(id);
    node.underway.delete(id);
    if (transaction) this.#todo.unshift(transaction);
    this.#handOut();
  }

  /** One to each in turn, so that neighbours in the list, which are often of one customer, go to different nodes. */
  #handOut(): void {
    while (true) {
      const free = this.#nodes.filter((node) => node.hasFreeLane).sort((a, b) => a.underway.size - b.underway.size)[0];
      const next = free && this.#todo.shift();
      if (!next) return;
      free.handOut(next);
    }
  }

  #line(): string {
    const load = this.#nodes.map((node) => `${node.name} ${node.isEnding ? 'killed' : node.underway.size}`);
    const orphans = this.#options.outage?.orphans ?? 0;
    return [...load, ...(orphans > 0 ? [`locks left behind: ${orphans}`] : [])].join(', ');
  }
}
