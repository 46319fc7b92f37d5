import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { audit, isUnharmed } from './audit.js';
import { mailroom } from './mailroom.js';
import { news } from './news.js';
import { Operator } from './operator.js';
import { type DemoOptions, HELP, parseOptions, UsageError } from './options.js';
import { Outage } from './outage.js';
import { NODES, Pass, type PassOptions, VICTIM } from './pass.js';
import { planTransactions } from './plan.js';
import { profileBusiest } from './profile.js';
import { Progress } from './progress.js';
import { type Outcome, story, table } from './report.js';
import { startServers } from './server.js';
import { Stores } from './stores.js';
import { showReport } from './yearly-report.js';

const FAILED = 1;
const WRONG_USE = 2;
const INTERRUPTED = 130;

async function demo(options: DemoOptions, signal: AbortSignal): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'stafett-demo-'));
  try {
    return await allActs(options, dir, signal);
  } finally {
    if (options.keep) console.log(`The files are in ${dir}.`);
    else await rm(dir, { recursive: true, force: true });
  }
}

async function allActs(options: DemoOptions, dir: string, signal: AbortSignal): Promise<number> {
  const { seed, ttl } = options;
  const transactions = planTransactions(options.transactions, seed);
  // Of its own, for the server may be one that others use, and that this demo has used before.
  const namespace = `demo-${Date.now()}`;
  const common = { transactions, seed, ttl, namespace, signal };
  console.log(`${transactions.length} transactions, ${NODES.length} nodes, seed ${seed}.\n\n1. Without locks`);
  const without = await pass({ ...common, dir: join(dir, 'without'), address: undefined });

  console.log(`\n2. With Stafett; ${VICTIM} will be killed half-way, in the middle of its work`);
  await using ownServers = options.server === undefined ? await startServers(signal) : undefined;
  const address = (ownServers?.address ?? options.server) as string;
  await using operator = await Operator.connect(address, namespace, signal);
  await operator.watch([...new Set(transactions.flatMap(({ customers }) => customers))]);
  const guarded = await pass({ ...common, dir: join(dir, 'with'), address }, operator);

  console.log(`\n${table({ transactions: transactions.length, without, guarded, handOffs: operator.handOffs })}\n`);
  return (await smallActs(options, address, namespace, signal)) ? verdict(without, guarded) : FAILED;
}

/** What else there is beside locks. @returns whether it was as promised. */
async function smallActs({ ttl, seed }: DemoOptions, address: string, namespace: string, signal: AbortSignal): Promise<boolean> {
  console.log('3. A background process with four workers; nodes join, and one is killed');
  const most = await mailroom({ address, namespace, ttl, signal });
  if (most > 4) return isBroken(`${most} workers ran at once, of 4.`);
  console.log('\n4. A report that everybody asks for at once');
  const made = await showReport(address, namespace, NODES);
  if (made !== 1) return isBroken(`The report was made ${made} times.`);
  console.log('\n5. Events and a feature toggle, seen in a second process');
  await news({ address, namespace, signal });
  console.log('\n6. A CPU profile of the busiest node');
  await profileBusiest({ address, namespace, names: NODES, seed, signal });
  console.log();
  return true;
}

function isBroken(what: string): false {
  fail(`${what} That must not be: please report it.`);
  return false;
}

type Common = Omit<PassOptions, 'outage' | 'onProgress'>;

async function pass(options: Common, operator?: Operator): Promise<Outcome> {
  using progress = new Progress(options.transactions.length);
  const stores = new Stores(options.dir);
  const outage = operator && new Outage(operator, stores);
  const result = await new Pass({ ...options, outage, onProgress: (done, line) => progress.show(done, line) }).run();
  return { damage: await audit(stores, options.transactions), result };
}

function verdict(without: Outcome, guarded: Outcome): number {
  // Of several the one with most to tell.
  const [takeover] = [...guarded.result.takeovers].sort((a, b) => b.view.history.length - a.view.history.length);
  if (takeover) console.log(`${story(takeover.view)}\n`);
  if (!isUnharmed(guarded.damage)) return fail('Something broke with Stafett. That must not be: please report it, with the seed.');
  if (without.damage.lostUpdates === 0) return fail('Nothing was lost without locks, so this shows nothing. Try more transactions.');
  if (!takeover) return fail(`${VICTIM} was never found in the middle of its work, and not killed. Try more transactions.`);
  console.log('With Stafett nothing was lost, though a node was killed in the middle of its work.');
  return 0;
}

function fail(message: string): number {
  console.error(message);
  return FAILED;
}

/** Whatever ends the demo early ends it through here, so that everything that it started ends first. */
function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort());
  process.stdout.on('error', () => controller.abort()); // `| head`
  return controller.signal;
}

async function main(args: readonly string[]): Promise<number> {
  const interrupted = untilInterrupted();
  try {
    const options = parseOptions(args);
    if (options) return await demo(options, interrupted);
    console.log(HELP);
    return 0;
  } catch (error) {
    if (interrupted.aborted) return INTERRUPTED;
    console.error((error as Error).message);
    return error instanceof UsageError ? WRONG_USE : FAILED;
  }
}

process.exitCode = await main(process.argv.slice(2));
