import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, type LockView } from '@stafett/client';
import { audit, type Damage, isUnharmed } from './audit.js';
import { Pass, type PassResult } from './pass.js';
import { planTransactions, type Transaction } from './plan.js';
import { Progress } from './progress.js';
import { story, table } from './report.js';
import { startServer } from './server.js';
import { Stores } from './stores.js';

const HELP = `npm run demo -- [options]

Three node processes work through tax-return transactions of seven steps each, on files without any protection: first without
locks, then with Stafett, while one of the nodes is killed.

  --transactions N   how many (default 400)
  --seed N           repeats a run's transactions (default: a new one, which is printed)
  --server ADDRESS   uses a Stafett server that is running (default: one of its own)
  --ttl TEXT         the TTL of the nodes' sessions (default 3s)
  --keep             keeps the files, and says where they are`;

const { values } = parseArgs({
  options: {
    transactions: { type: 'string', default: '400' },
    seed: { type: 'string' },
    server: { type: 'string' },
    ttl: { type: 'string', default: '3s' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const cleanups: (() => unknown)[] = [];
let current: Pass | undefined;

async function main(): Promise<number> {
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  const transactions = planTransactions(Number(values.transactions), seed);
  const dir = await mkdtemp(join(tmpdir(), 'stafett-demo-'));
  cleanups.push(() => (values.keep ? console.log(`The files are in ${dir}.`) : rm(dir, { recursive: true, force: true })));
  console.log(`${transactions.length} transactions, three nodes, seed ${seed}.\n\n1. Without locks`);
  const { damage: without } = await pass(join(dir, 'without'), transactions, seed, undefined);
  console.log('\n2. With Stafett; node-2 will be killed half-way');
  const server = values.server ? undefined : await startServer();
  if (server) cleanups.push(() => server.stop());
  const { damage, result, view } = await pass(join(dir, 'with'), transactions, seed, values.server ?? server?.address);
  const handOffs = await server?.handOffs();
  console.log(`\n${table({ transactions: transactions.length, without, with: damage, result, handOffs })}\n`);
  if (view) console.log(`${story(view)}\n`);
  return verdict(without, damage, view);
}

async function pass(
  dir: string,
  transactions: Transaction[],
  seed: number,
  address: string | undefined,
): Promise<{ damage: Damage; result: PassResult; view: LockView | undefined }> {
  const progress = new Progress(transactions.length);
  const operator = address ? await connect(address, { client: 'demo' }) : undefined;
  let view: LockView | undefined;
  try {
    current = new Pass({
      dir,
      transactions,
      seed,
      address,
      ttl: values.ttl,
      kill: address !== undefined,
      onProgress: (done, line) => progress.show(done, line),
      onTakeover: async (customer) => {
        view = await operator?.locks.get(customer);
      },
    });
    const result = await current.run();
    progress.end();
    return { damage: await audit(new Stores(dir), transactions), result, view };
  } finally {
    await operator?.close();
  }
}

function verdict(without: Damage, guarded: Damage, view: LockView | undefined): number {
  if (isUnharmed(without)) return fail('Nothing broke without locks: there was nothing to show. Try more transactions.');
  if (!isUnharmed(guarded)) return fail('Something broke with Stafett. That must not be: please report it, with the seed.');
  if (!view?.history.some(({ endReason }) => endReason === 'EXPIRED')) return fail('No lock of the killed node expired; try another seed.');
  console.log('With Stafett nothing was lost, though a node was killed in the middle of its work.');
  return 0;
}

function fail(message: string): number {
  console.error(message);
  return 1;
}

async function cleanUp(): Promise<void> {
  current?.stop();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
}

if (values.help) console.log(HELP);
else {
  try {
    process.exitCode = await main();
  } finally {
    await cleanUp();
  }
}
