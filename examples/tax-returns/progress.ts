/** How far it is: one line that is rewritten on a terminal, a line each second elsewhere. */
export class Progress {
  #last = 0;

  constructor(private readonly total: number) {}

  show(done: number, line: string): void {
    const text = `   ${String(done).padStart(String(this.total).length)} of ${this.total} done; ${line}`;
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
    else if (done === this.total || performance.now() - this.#last > 1_000) {
      this.#last = performance.now();
      console.log(text);
    }
  }

  end(): void {
    if (process.stdout.isTTY) process.stdout.write('\n');
  }
}
