type Cleanup = () => void | Promise<void>;

/** What must be undone at the end, however it comes: the last thing started is stopped first. */
export class CleanupStack {
  private readonly steps: Cleanup[] = [];
  private running: Promise<void> | undefined;

  /** Adds a step. When the clean-up has begun already it runs at once. */
  add(step: Cleanup): void {
    if (this.running === undefined) this.steps.push(step);
    else this.running = this.running.then(() => runStep(step));
  }

  /** Whether the clean-up has begun: nothing must be started any more. */
  get begun(): boolean {
    return this.running !== undefined;
  }

  /** Runs all steps, once. */
  run(): Promise<void> {
    this.running ??= this.runAll();
    return this.running;
  }

  /** Cleans up and exits on Ctrl-C, SIGTERM and SIGHUP (a second signal exits at once), and on what nobody caught. */
  handleSignals(): void {
    process.once('uncaughtException', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') process.stderr.write(`${error.stack}\n`); // EPIPE: whoever reads our output has seen enough
      void this.run().finally(() => process.exit(1));
    });
    const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        process.stderr.write(`\n${signal}: cleaning up\n`);
        void this.run().finally(() => process.exit(codes[signal]));
      });
    }
  }

  private async runAll(): Promise<void> {
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) await runStep(step);
  }
}

async function runStep(step: Cleanup): Promise<void> {
  try {
    await step();
  } catch (error) {
    process.stderr.write(`clean-up: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}
