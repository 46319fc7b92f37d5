import { setTimeout as sleep } from 'node:timers/promises';
import type { JournalEntry, Stores } from './stores.js';

export interface Step {
  readonly stores: Stores;
  /** A little work between two steps. */
  readonly work: () => Promise<void>;
  /** Throws when the lock may be lost. Does nothing in the pass without locks. */
  readonly assertHeld: () => void;
  readonly token: bigint;
}

export function workFor(random: () => number): () => Promise<void> {
  return () => sleep(1 + random() * 3);
}

/** The seven steps of a transaction, for one customer. */
export async function carryOut(step: Step, customer: string, transaction: string): Promise<void> {
  const document = await step.stores.readDocument(customer); // 1
  await step.work();
  if (!document.changes.some((change) => change.transaction === transaction)) {
    const version = document.version + 1;
    const changes = [...document.changes, { transaction, version }];
    step.assertHeld();
    await step.stores.writeDocument(customer, { version, changes, token: step.token.toString() }); // 2
    await step.work();
    await finish(step, customer, transaction, version);
  }
}

/**
 * Whoever has the lock first looks whether its predecessor was killed in the middle: then the last version of the document
 * is not in the journal, or its letter is not. It finishes that transaction, so that the journal stays in order. Each step
 * can be done twice. The killed transaction itself is handed out again, and finds that all is done.
 */
export async function finishPredecessor(step: Step, customer: string): Promise<void> {
  const last = (await step.stores.readDocument(customer)).changes.at(-1);
  if (last) await finish(step, customer, last.transaction, last.version);
}

async function finish(step: Step, customer: string, transaction: string, version: number): Promise<void> {
  const { stores, work, assertHeld } = step;
  await journalize(step, customer, { kind: 'return', transaction, version }); // 3
  if (!(await stores.readLetter(customer, transaction))) {
    assertHeld();
    await stores.writeLetter(customer, { transaction, version }); // 4
    await work();
  }
  await journalize(step, customer, { kind: 'letter', transaction, version }); // 5
  const closed = await stores.readClosedTickets(customer);
  if (!closed.includes(transaction)) {
    await work();
    assertHeld();
    await stores.writeClosedTickets(customer, [...closed, transaction]); // 6
  }
  if ((await stores.readIndex(customer)) === version) return;
  assertHeld();
  await stores.writeIndex(customer, version); // 7
}

async function journalize({ stores, work, assertHeld }: Step, customer: string, entry: JournalEntry): Promise<void> {
  const entries = await stores.readJournal(customer);
  if (entries.some(({ kind, transaction }) => kind === entry.kind && transaction === entry.transaction)) return;
  await work();
  assertHeld();
  await stores.writeJournal(customer, [...entries, entry]);
}
