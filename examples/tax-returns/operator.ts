import { connect, type LockView, type Stafett } from '@stafett/client';

/** Somebody who works on nothing and looks at the locks: all that the demo reports about them is what Stafett itself says. */
export class Operator implements AsyncDisposable {
  readonly #stafett: Stafett;
  readonly #watching = new AbortController();
  #watched: Promise<void> = Promise.resolve();
  #handOffs = 0;

  private constructor(stafett: Stafett) {
    this.#stafett = stafett;
  }

  static async connect(address: string, namespace: string, signal: AbortSignal): Promise<Operator> {
    return new Operator(await connect(address, { client: 'demo', namespace, signal }));
  }

  /** How often a lock went from its holder straight to the next in line. */
  get handOffs(): number {
    return this.#handOffs;
  }

  /** Counts the hand-offs from now on; returns when it has begun to. */
  async watch(names: readonly string[]): Promise<void> {
    const unseen = new Set(names);
    await new Promise<void>((resolve, reject) => {
      const count = async () => {
        for await (const event of this.#stafett.locks.watch(names, { signal: this.#watching.signal })) {
          if (event.type === 'unlocked' && event.next) this.#handOffs++;
          if (unseen.delete(event.name) && unseen.size === 0) resolve();
        }
      };
      this.#watched = count().catch(reject); // after the beginning only the end of the watch, by `signal`, is left to reject
    });
  }

  async heldBy(host: string): Promise<string[]> {
    const held: string[] = [];
    for await (const { name, holder } of this.#stafett.locks.list({ activeOnly: true })) if (holder?.host === host) held.push(name);
    return held;
  }

  look(name: string): Promise<LockView> {
    return this.#stafett.locks.get(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watching.abort();
    await this.#watched;
    await this.#stafett.close();
  }
}
