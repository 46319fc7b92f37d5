const EVERY_MS = 1_000;

/** How far it is: one line that is rewritten on a terminal, a line each second elsewhere. */
export class Progress implements Disposable {
  #last = 0;

  constructor(private readonly total: number) {}

  show(done: number, line: string): void {
    const text = `   ${String(done).padStart(String(this.total).length)} of ${this.total} done; ${line}`;
    const { stdout } = process;
    if (stdout.isTTY) stdout.write(`\r\x1b[K${text.slice(0, stdout.columns - 1)}`);
    else if (done === this.total || performance.now() - this.#last > EVERY_MS) {
      this.#last = performance.now();
      console.log(text);
    }
  }

  [Symbol.dispose](): void {
    if (process.stdout.isTTY) process.stdout.write('\n');
  }
}
