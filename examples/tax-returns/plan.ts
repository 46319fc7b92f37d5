/** What is to be done: the same list for the same seed. */

export interface Transaction {
  readonly id: string;
  /** One customer, or a married couple. */
  readonly customers: readonly string[];
}

const CUSTOMERS = 25;
/** How many of a hundred transactions concern a couple. */
const COUPLES_PERCENT = 15;
/** How many of a hundred concern the same customer as the one before: one letter seldom comes alone. */
const REPEATS_PERCENT = 30;

/** Seeded random numbers in [0, 1): mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function planTransactions(count: number, seed: number): Transaction[] {
  const random = randomNumbers(seed);
  // The power makes the first customers much busier than the last.
  const anyone = () => `customer/${Math.floor(random() ** 1.6 * CUSTOMERS) + 1}`;
  let customer = anyone();
  return Array.from({ length: count }, (_, i) => {
    if (random() * 100 >= REPEATS_PERCENT) customer = anyone();
    const customers = new Set([customer]);
    const size = random() * 100 < COUPLES_PERCENT ? 2 : 1;
    while (customers.size < size) customers.add(anyone());
    return { id: `t${i + 1}`, customers: [...customers] };
  });
}
