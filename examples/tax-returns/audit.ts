import type { Transaction } from './plan.js';
import type { Stores } from './stores.js';

/** What is wrong in the stores after all transactions were carried out. */
export interface Damage {
  /** Transactions whose change of a document is not there any more. */
  lostUpdates: number;
  /** Customers whose journal does not tell every version, in order, with its letter. */
  brokenJournals: number;
  /** Letters that were never sent, or tell of another version than the document. */
  wrongLetters: number;
  /** Customers whose tickets are not all closed. */
  openTickets: number;
  /** Customers whom the search index does not find in their last version. */
  staleIndexes: number;
}

export async function audit(stores: Stores, transactions: readonly Transaction[]): Promise<Damage> {
  const damage: Damage = { lostUpdates: 0, brokenJournals: 0, wrongLetters: 0, openTickets: 0, staleIndexes: 0 };
  const customers = new Set(transactions.flatMap((transaction) => transaction.customers));
  for (const customer of customers) {
    const expected = transactions.filter((transaction) => transaction.customers.includes(customer)).map(({ id }) => id);
    await auditCustomer(stores, customer, expected, damage);
  }
  return damage;
}

async function auditCustomer(stores: Stores, customer: string, expected: readonly string[], damage: Damage): Promise<void> {
  const { changes, version } = await stores.readDocument(customer);
  const versions = new Map(changes.map((change) => [change.transaction, change.version]));
  damage.lostUpdates += expected.filter((id) => !versions.has(id)).length;
  const told = (await stores.readJournal(customer)).map((entry) => `${entry.version} ${entry.kind} ${entry.transaction}`);
  const toTell = changes.flatMap(({ transaction, version: v }) => [`${v} return ${transaction}`, `${v} letter ${transaction}`]);
  if (told.join() !== toTell.join() || changes.length !== expected.length) damage.brokenJournals++;
  for (const id of expected) {
    const letter = await stores.readLetter(customer, id);
    if (!letter || letter.version !== versions.get(id)) damage.wrongLetters++;
  }
  const closed = new Set(await stores.readClosedTickets(customer));
  if (!expected.every((id) => closed.has(id))) damage.openTickets++;
  if ((await stores.readIndex(customer)) !== version) damage.staleIndexes++;
}

export function isUnharmed(damage: Damage): boolean {
  return Object.values(damage).every((count) => count === 0);
}
