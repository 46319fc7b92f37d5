import type { ChildProcess } from 'node:child_process';
import { on } from 'node:events';
import { fileURLToPath } from 'node:url';
import { start, stop } from '../harness/child.js';
import type { CleanupStack } from '../harness/cleanup.js';
import { repositoryRoot } from '../harness/paths.js';
import type { FromSubscribers, SubscriberSettings, ToSubscribers } from './subscribers.js';

const PROGRAM = fileURLToPath(new URL('./subscribers.ts', import.meta.url));

/** The process with the subscribers, seen from the bench. */
export class Audience {
  readonly #child: ChildProcess;
  readonly #done = new Map<number, () => void>();

  constructor(settings: SubscriberSettings, cleanup: CleanupStack) {
    const args = ['--import', 'tsx', PROGRAM, JSON.stringify(settings)];
    this.#child = start(process.execPath, args, { cwd: repositoryRoot, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    cleanup.add(() => this.close());
    this.#child.on('message', (message: FromSubscribers) => {
      if (message.type !== 'done') return;
      this.#done.get(message.n)?.();
      this.#done.delete(message.n);
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async subscribe(count: number): Promise<void> {
    await this.#ask({ type: 'subscribe', count }, 'subscribed');
  }

  /** Of all publications since this was asked last, ms. */
  report() {
    return this.#ask({ type: 'report' }, 'report');
  }

  /** Resolves when all subscribers have it. To be called before it is published. */
  has(n: number): Promise<void> {
    return new Promise((resolve) => this.#done.set(n, resolve));
  }

  close(): Promise<void> {
    return stop(this.#child, 'SIGKILL');
  }

  async #ask<T extends FromSubscribers['type']>(question: ToSubscribers, type: T): Promise<Extract<FromSubscribers, { type: T }>> {
    const answers = on(this.#child, 'message', { close: ['exit'] });
    this.#child.send(question);
    for await (const [answer] of answers) if (answer.type === type) return answer;
    throw new Error('the process with the subscribers ended');
  }
}
