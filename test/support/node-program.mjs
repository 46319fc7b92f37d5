import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../clients/typescript/dist/index.js';

// A node of a managed process, in a process of its own: tells on stdout what its workers do, by the machine's monotonic clock, which is
// the same for all processes. SIGTERM: leaves politely. node node-program.mjs <NodeSettings as JSON>

const { name, addresses, namespace, ttlMs, workers, capacity = 1_000, stopMs } = JSON.parse(process.argv[2]);

function tell(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function now() {
  return Number(process.hrtime.bigint() / 1_000n);
}

/** Works until it is told to stop, and then takes its time; but stops at once when its slot is lost. */
async function work({ slot, fencingToken, signal, abortSignal }) {
  const token = String(fencingToken);
  let stopAt = Number.POSITIVE_INFINITY;
  let told = 'start';
  while (performance.now() < stopAt) {
    const at = now();
    if (abortSignal.aborted) return; // lost, or later than it may be
    tell({ kind: told, at, slot, token });
    told = 'beat';
    if (signal.aborted && stopAt === Number.POSITIVE_INFINITY) stopAt = performance.now() + stopMs;
    await sleep(20);
  }
}

const stafett = await connect(addresses, { namespace, ttl: ttlMs, host: name });
const managed = stafett.processes.manage('p', { workers, capacity, onError: () => {} }, work);
process.once('SIGTERM', async () => {
  await managed.stop();
  await stafett.close();
});
await managed.joined();
tell({ kind: 'ready', at: now() });
