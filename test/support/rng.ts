const MAX = 0x7fff_ffff;

let ownSeed: number | undefined;

/**
 * The seed of this run: STAFETT_TEST_SEED if set, else a random one. Printed once per file that uses it, so that a
 * failure can be repeated. Fits fast-check's `seed`.
 */
export function testSeed(): number {
  const given = process.env.STAFETT_TEST_SEED;
  if (given !== undefined && !/^\d{1,10}$/.test(given)) throw new Error(`STAFETT_TEST_SEED must be a number, and is '${given}'`);
  if (ownSeed === undefined) {
    ownSeed = given === undefined ? Math.floor(Math.random() * MAX) : Number(given);
    console.log(`random seed: STAFETT_TEST_SEED=${ownSeed}`);
  }
  return ownSeed;
}

/** Random numbers that are the same for the same seed (mulberry32). */
export class Rng {
  #state: number;

  /** Without a seed: that of this run. */
  constructor(seed = testSeed()) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, and without, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** A whole number, both ends included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** True so often, of 1. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error('nothing to pick from');
    return items[this.int(0, items.length - 1)] as T;
  }

  /** So many different ones, in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    return this.shuffle(items).slice(0, count);
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }

  /** Another source, which does not disturb this one: one for each task that draws at its own pace. */
  fork(): Rng {
    return new Rng(Math.floor(this.next() * 0x1_0000_0000));
  }
}
