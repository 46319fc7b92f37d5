import { setTimeout as sleep } from 'node:timers/promises';
import type { JournalEntry, Stores } from './stores.js';

export interface Step {
  readonly stores: Stores;
  /** A little work between two steps. */
  readonly work: () => Promise<void>;
  readonly token: bigint;
}

/** Mostly 1 to 3 ms, now and then up to 13 ms: as with every other system, one cannot rely on who is the faster. */
export function workFor(random: () => number): () => Promise<void> {
  return () => sleep(1 + 12 * random() ** 4);
}

/**
 * The seven steps of a transaction, for one customer.
 *
 * Nothing spans the seven stores, so a node that is killed leaves a transaction half done, and this is what is left to do:
 * - Before step 2 nothing was written. The transaction is handed out again, and carried out as if it was new.
 * - From step 2 on the document names the transaction as its last change, and the index, which is written last, still has an
 *   earlier version. Whoever gets the lock next, for whatever transaction, sees that and does the missing steps first
 *   (`finishPredecessor`): done later, the journal would tell the versions in the wrong order. Each step looks whether it
 *   was done, and is keyed by the transaction, so that no letter goes out twice.
 * - After step 7 all is done, but nobody has been told. The transaction is handed out again, and found in the document.
 */
export async function carryOut(step: Step, customer: string, transaction: string): Promise<void> {
  const { stores, work, token } = step;
  const document = await stores.readDocument(customer); // 1
  if (document.changes.some((change) => change.transaction === transaction)) return;
  await work();
  const version = document.version + 1;
  const changes = [...document.changes, { transaction, version }];
  await stores.writeDocument(customer, { version, changes, token: token.toString() }); // 2
  await work();
  await finish(step, customer, transaction, version);
}

/** @returns whether there was something to finish. */
export async function finishPredecessor(step: Step, customer: string): Promise<boolean> {
  if (!(await step.stores.isHalfDone(customer))) return false;
  const last = (await step.stores.readDocument(customer)).changes.at(-1);
  if (last) await finish(step, customer, last.transaction, last.version);
  return true;
}

async function finish(step: Step, customer: string, transaction: string, version: number): Promise<void> {
  const { stores, work } = step;
  await journalize(step, customer, { kind: 'return', transaction, version }); // 3
  if (!(await stores.readLetter(customer, transaction))) {
    await stores.writeLetter(customer, { transaction, version }); // 4
    await work();
  }
  await journalize(step, customer, { kind: 'letter', transaction, version }); // 5
  await closeTicket(step, customer, transaction); // 6
  await work();
  await stores.writeIndex(customer, version); // 7
}

async function journalize({ stores, work }: Step, customer: string, entry: JournalEntry): Promise<void> {
  const entries = await stores.readJournal(customer);
  if (entries.some(({ kind, transaction }) => kind === entry.kind && transaction === entry.transaction)) return;
  await work();
  await stores.writeJournal(customer, [...entries, entry]);
}

async function closeTicket({ stores, work }: Step, customer: string, transaction: string): Promise<void> {
  const closed = await stores.readClosedTickets(customer);
  if (closed.includes(transaction)) return;
  await work();
  await stores.writeClosedTickets(customer, [...closed, transaction]);
}
