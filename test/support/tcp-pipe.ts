import type { Socket } from 'node:net';

/** More than this is left with the sender, as a network would. */
const HELD_BYTES_MAX = 1_048_576;

/** Copies from one socket to another, in order, later or not now. The end of the one ends the other. */
export class Pipe {
  readonly #queue: { readonly chunk: Buffer | undefined; readonly receivedAt: number }[] = [];
  readonly #from: Socket;
  readonly #to: Socket;
  #heldBytes = 0;
  #paused = false;
  #delayMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    to.on('drain', () => this.#pass());
    from.on('data', (chunk: Buffer) => this.#take(chunk));
    from.on('end', () => this.#take(undefined));
  }

  set(how: { readonly paused: boolean; readonly delayMs: number }): void {
    this.#paused = how.paused;
    this.#delayMs = how.delayMs;
    this.#pass();
  }

  /** Passes nothing more; what is still here is lost. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #take(chunk: Buffer | undefined): void {
    this.#queue.push({ chunk, receivedAt: performance.now() });
    this.#heldBytes += chunk?.length ?? 0;
    if (this.#heldBytes > HELD_BYTES_MAX) this.#from.pause();
    this.#pass();
  }

  #pass(): void {
    clearTimeout(this.#timer);
    while (!this.#paused && !this.#stopped && this.#to.writableLength <= HELD_BYTES_MAX) {
      const [next] = this.#queue;
      if (next === undefined) return;
      const waitMs = next.receivedAt + this.#delayMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#pass(), waitMs);
        return;
      }
      this.#queue.shift();
      this.#give(next.chunk);
    }
  }

  #give(chunk: Buffer | undefined): void {
    if (chunk === undefined) {
      this.#to.end();
      return;
    }
    this.#to.write(chunk);
    this.#heldBytes -= chunk.length;
    if (this.#heldBytes <= HELD_BYTES_MAX) this.#from.resume();
  }
}
