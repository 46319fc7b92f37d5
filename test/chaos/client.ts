import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { connect, type Lock, StafettError } from '../../clients/typescript/src/index.js';
import { Rng } from '../support/rng.js';
import { type ChaosEvent, monotonicUs } from './events.js';
import { runNews } from './news.js';
import { Register } from './register.js';
import { type ClientSettings, NAMES } from './settings.js';
import { removeDeadline } from './without-deadline.js';

// A client process of the chaos run: lanes of read-modify-write transactions under locks, until it is ended.

const settings = JSON.parse(process.argv[2] as string) as ClientSettings;
const store = new Redis(settings.storePort, '127.0.0.1');
let transactions = 0;
if (!settings.deadline) removeDeadline();

function tell(event: ChaosEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const stafett = await connect(settings.addresses, {
  client: settings.name,
  namespace: settings.namespace,
  ttl: settings.ttlMs,
  connectTimeout: '1m',
});

/** Adds one to the register of each name, fenced and unfenced, reading and writing in two steps. */
async function work(lock: Lock, id: string, rng: Rng): Promise<void> {
  const tokens = Object.fromEntries(lock.names.map((name) => [name, String(lock.tokenFor(name))]));
  const [session = ''] = lock.lockId.split('.');
  tell({ kind: 'granted', at: monotonicUs(), id, session, tokens });
  for (const name of lock.names) {
    for (const [kind, token] of [
      ['fenced', settings.fencing ? (tokens[name] as string) : ''],
      ['plain', ''],
    ] as const) {
      const register = new Register(store, `${kind}:${name}`);
      const value = await register.read(token);
      if (value < 0) throw new StafettError('FAILED_PRECONDITION', 'STALE_TOKEN', 'refused by the register');
      await sleep(rng.int(0, settings.workMsMax));
      const at = monotonicUs();
      lock.assertHeld();
      tell({ kind: 'held', at, id });
      await sleep(rng.int(0, settings.stallMsMax)); // a freeze between the question and the write is what fencing is for
      await register.write(token, value + 1);
    }
  }
}

async function transaction(rng: Rng, id: string): Promise<string | undefined> {
  const names = rng.sample(NAMES, rng.chance(0.3) ? 2 : 1).sort();
  const inner = NAMES.filter((name) => !names.includes(name));
  if (rng.chance(0.15)) {
    const { acquired } = await stafett.locks.tryRun(names, (lock) => work(lock, id, rng), { waitTimeout: rng.int(0, 500), purpose: id });
    return acquired ? undefined : 'CONTENDED';
  }
  const outer = async (lock: Lock) => {
    await work(lock, id, rng);
    if (rng.chance(0.2)) await stafett.locks.run(rng.pick(inner), (nested) => work(nested, `${id}n`, rng), { purpose: `${id}n` });
  };
  await stafett.locks.run(names, outer, { purpose: id });
  return undefined;
}

async function lane(rng: Rng): Promise<never> {
  while (true) {
    const id = `${settings.name}.${++transactions}`;
    let reason: string | undefined;
    try {
      reason = await transaction(rng, id);
    } catch (error) {
      reason = error instanceof StafettError ? error.reason : String(error);
    }
    tell({ kind: 'done', at: monotonicUs(), id, ...(reason !== undefined && { reason }) });
    await sleep(rng.int(0, 20));
  }
}

tell({ kind: 'ready' });
const rng = new Rng(settings.seed);
const lanes = Array.from({ length: settings.lanes }, () => lane(rng.fork()));
if (settings.news) lanes.push(runNews({ stafett, name: settings.name, rng: rng.fork(), tell }));
await Promise.all(lanes);
