import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { NodeMessage, NodeOptions } from './node.js';
import type { Transaction } from './plan.js';

/** Transactions that one node carries out side by side. */
const LANES = 4;
const LEAVE_TIMEOUT_MS = 5_000;
const PROGRAM = fileURLToPath(new URL('./node.ts', import.meta.url));

export interface NodeEvents {
  onMessage(node: NodeProcess, message: NodeMessage): void;
  onExit(node: NodeProcess, how: string): void;
}

/** The coordinator's end of a node. */
export class NodeProcess {
  readonly name: string;
  readonly underway = new Map<string, Transaction>();
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #ending = false;

  constructor(options: NodeOptions, events: NodeEvents) {
    this.name = options.name;
    this.#child = fork(PROGRAM, [JSON.stringify(options)]);
    this.#child.on('message', (message: NodeMessage) => events.onMessage(this, message));
    this.#child.on('error', () => {}); // to send to one that has just died; its exit is told anyway
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        resolve();
        events.onExit(this, signal ?? `exit code ${code}`);
      });
    });
  }

  /** It was killed, or asked to leave. */
  get isEnding(): boolean {
    return this.#ending;
  }

  get hasFreeLane(): boolean {
    return !this.#ending && this.#child.connected && this.underway.size < LANES;
  }

  handOut(transaction: Transaction): void {
    this.underway.set(transaction.id, transaction);
    this.#child.send(transaction);
  }

  /** Stops it in the middle of whatever it does. What it holds it keeps, for as long as its session lives. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    this.#ending = true;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Lets it close its session. */
  async leave(): Promise<void> {
    this.#ending = true;
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LEAVE_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}
