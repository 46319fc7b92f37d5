import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { NodeMessage, NodeOptions } from './node.js';
import type { Transaction } from './plan.js';

/** Transactions that one node carries out side by side. */
const LANES = 4;
const NODES = ['node-1', 'node-2', 'node-3'];
const VICTIM = 'node-2';

export interface PassOptions extends Omit<NodeOptions, 'name'> {
  readonly transactions: readonly Transaction[];
  /** Kill one of the nodes half-way, in the middle of a transaction. */
  readonly kill: boolean;
  onProgress(done: number, line: string): void;
  /** The first lock of the killed node was granted to somebody else. */
  onTakeover(customer: string, ms: number): Promise<void>;
}

export interface PassResult {
  readonly waitsMs: number[];
  readonly takeoversMs: number[];
}

interface Node {
  readonly name: string;
  readonly process: ChildProcess;
  readonly underway: Map<string, Transaction>;
}

/** Hands out all transactions to three node processes and waits until they are done. */
export class Pass {
  readonly #options: PassOptions;
  readonly #todo: Transaction[];
  readonly #nodes: Node[] = [];
  readonly #began = new Set<string>();
  /** Customers whose lock the killed node had: when it was killed. */
  readonly #orphans = new Map<string, number>();
  readonly #result: PassResult = { waitsMs: [], takeoversMs: [] };
  readonly #pending: Promise<void>[] = [];
  #done = 0;
  #killed = false;
  #finish: (error?: Error) => void = () => {};

  constructor(options: PassOptions) {
    this.#options = options;
    this.#todo = [...options.transactions];
  }

  async run(): Promise<PassResult> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#finish = (error) => (error ? reject(error) : resolve());
        for (const name of NODES) this.#start(name);
      });
      await Promise.all(this.#pending);
      return this.#result;
    } finally {
      this.stop();
    }
  }

  stop(): void {
    for (const { process: child } of this.#nodes) child.kill('SIGKILL');
  }

  #start(name: string): void {
    const { dir, address, ttl, seed } = this.#options;
    const options: NodeOptions = { name, dir, address, ttl, seed: seed + NODES.indexOf(name) };
    const file = fileURLToPath(new URL('./node.ts', import.meta.url));
    const child = fork(file, [JSON.stringify(options)], { execArgv: ['--import', 'tsx'] });
    const node: Node = { name, process: child, underway: new Map() };
    this.#nodes.push(node);
    child.on('message', (message: NodeMessage) => this.#onMessage(node, message));
    child.on('exit', (code, signal) => this.#onExit(node, signal ?? `code ${code}`));
  }

  #onMessage(node: Node, message: NodeMessage): void {
    if (message.type === 'failed') return this.#finish(new Error(`${node.name}: ${message.transaction}: ${message.error}`));
    if (message.type === 'began') this.#onBegan(node, message.transaction, message.waitedMs);
    if (message.type === 'done') {
      node.underway.delete(message.transaction);
      this.#done++;
      this.#options.onProgress(this.#done, this.#line());
    }
    this.#handOut(node);
    if (this.#done === this.#options.transactions.length) this.#finish();
  }

  #onBegan(node: Node, id: string, waitedMs: number): void {
    this.#began.add(id);
    this.#result.waitsMs.push(waitedMs);
    const { customers } = node.underway.get(id) as Transaction;
    for (const customer of customers) this.#onHeld(customer);
    const halfWay = this.#done >= this.#options.transactions.length / 2;
    if (this.#options.kill && !this.#killed && halfWay && node.name === VICTIM) this.#kill(node, id);
  }

  #onHeld(customer: string): void {
    const killedAt = this.#orphans.get(customer);
    if (killedAt === undefined) return;
    this.#orphans.delete(customer);
    const ms = performance.now() - killedAt;
    this.#result.takeoversMs.push(ms);
    if (this.#result.takeoversMs.length === 1) this.#pending.push(this.#options.onTakeover(customer, ms));
  }

  /** In the middle of a transaction, whose customers stay locked until the session of the node runs out. */
  #kill(node: Node, id: string): void {
    this.#killed = true;
    for (const { id: other, customers } of node.underway.values()) {
      if (other !== id && !this.#began.has(other)) continue;
      for (const customer of customers) this.#orphans.set(customer, performance.now());
    }
    setTimeout(() => node.process.kill('SIGKILL'), 8); // somewhere between the steps
  }

  /** What a node had in hand goes to the others; whatever it had done already is found done. */
  #onExit(node: Node, how: string): void {
    if (!this.#killed || node.name !== VICTIM) return this.#finish(new Error(`${node.name} ended by ${how}`));
    this.#todo.unshift(...node.underway.values());
    for (const each of this.#nodes) this.#handOut(each);
  }

  #handOut(node: Node): void {
    while (node.process.connected && !(this.#killed && node.name === VICTIM) && node.underway.size < LANES) {
      const next = this.#todo.shift();
      if (!next) return;
      node.underway.set(next.id, next);
      node.process.send(next);
    }
  }

  #line(): string {
    const load = this.#nodes.map(({ name, process: child, underway }) => `${name} ${child.connected ? underway.size : 'killed'}`);
    const orphans = this.#orphans.size > 0 ? `, ${this.#orphans.size} customers wait for a dead node` : '';
    return `${load.join(', ')}${orphans}`;
  }
}
