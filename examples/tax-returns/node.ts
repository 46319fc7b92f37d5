import { connect, type Stafett, StafettError } from '@stafett/client';
import { randomNumbers, type Transaction } from './plan.js';
import { Stores } from './stores.js';
import { carryOut, finishPredecessor, type Step, workFor } from './transaction.js';

/** One node of the service: a process that is handed transactions and carries them out, with locks or without. */

export interface NodeOptions {
  readonly name: string;
  readonly dir: string;
  readonly seed: number;
  /** Of the Stafett server; none: without locks. */
  readonly address: string | undefined;
  readonly namespace: string;
  readonly ttl: string;
}

/** What a node tells the coordinator. */
export type NodeMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'began'; readonly transaction: string; readonly waitedMs: number }
  | { readonly type: 'finished-for-another' }
  | { readonly type: 'done'; readonly transaction: string }
  /** The node was too slow to keep its session alive; somebody else may have the lock. */
  | { readonly type: 'lock-lost'; readonly transaction: string }
  | { readonly type: 'failed'; readonly transaction: string; readonly error: string };

const { name, dir, seed, address, namespace, ttl }: NodeOptions = JSON.parse(process.argv[2] as string);
const work = workFor(randomNumbers(seed));
const stafett = address ? await connect(address, { client: 'tax-return-service', host: name, namespace, ttl }) : undefined;

process.on('message', (transaction: Transaction) => void handle(transaction));
process.on('disconnect', () => void leave());
tell({ type: 'ready' });

async function handle(transaction: Transaction): Promise<void> {
  try {
    if (stafett) await withLocks(stafett, transaction);
    else await withoutLocks(transaction);
    tell({ type: 'done', transaction: transaction.id });
  } catch (error) {
    if (error instanceof StafettError && error.reason === 'LOCK_LOST') tell({ type: 'lock-lost', transaction: transaction.id });
    else tell({ type: 'failed', transaction: transaction.id, error: String(error) });
  }
}

async function withLocks({ locks }: Stafett, { id, customers }: Transaction): Promise<void> {
  const asked = performance.now();
  await locks.run(
    customers,
    async (lock) => {
      tell({ type: 'began', transaction: id, waitedMs: performance.now() - asked });
      const step: Step = { stores: new Stores(dir, () => lock.assertHeld()), work, token: lock.fencingToken };
      try {
        for (const customer of customers) {
          if (await finishPredecessor(step, customer)) tell({ type: 'finished-for-another' });
          await carryOut(step, customer, id);
        }
      } catch (error) {
        throw lock.lost ?? error; // that the document store refused an old token is then what came of it
      }
    },
    { purpose: `tax return ${id}` },
  );
}

async function withoutLocks({ id, customers }: Transaction): Promise<void> {
  tell({ type: 'began', transaction: id, waitedMs: 0 });
  const step: Step = { stores: new Stores(dir), work, token: 0n };
  for (const customer of customers) await carryOut(step, customer, id);
}

function tell(message: NodeMessage): void {
  if (process.connected) process.send?.(message);
}

/** The coordinator has no more work, or is gone. */
async function leave(): Promise<void> {
  await stafett?.close().catch(() => {}); // then the session runs out by itself
  process.exit();
}
