import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const LEAVE_TIMEOUT_MS = 5_000;

/** Processes of one act. They leave when they are disconnected, and are killed when they do not. */
export class Children implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];

  /** @param program a file of this directory @param options what it finds, as JSON, in its first argument */
  start(program: string, options: object): ChildProcess {
    const child = fork(fileURLToPath(new URL(program, import.meta.url)), [JSON.stringify(options)]);
    this.#children.push(child);
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) if (child.connected) child.disconnect();
    const timer = setTimeout(() => {
      for (const child of this.#children) child.kill('SIGKILL');
    }, LEAVE_TIMEOUT_MS);
    await Promise.all(this.#children.map(gone));
    clearTimeout(timer);
  }
}

export async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
