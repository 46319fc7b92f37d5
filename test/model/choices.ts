/**
 * Where the engine is free to choose, the model follows every choice in turn until one explains what was seen: the same
 * code is run again with the next path of choices.
 */
export class Choices {
  readonly #path: { choice: number; options: number }[] = [];
  #at = 0;

  /** One of 0 .. options - 1. */
  choose(options: number): number {
    if (options <= 1) return 0;
    if (this.#at === this.#path.length) this.#path.push({ choice: 0, options });
    return (this.#path[this.#at++] as { choice: number }).choice;
  }

  /** Turns to the next path; false when all of them were tried. */
  next(): boolean {
    this.#path.length = this.#at; // what lies behind belonged to another path
    this.#at = 0;
    while (this.#path.length > 0) {
      const last = this.#path[this.#path.length - 1] as { choice: number; options: number };
      if (++last.choice < last.options) return true;
      this.#path.pop();
    }
    return false;
  }
}
