import { connect } from '../../clients/typescript/src/index.js';

// A client process that takes a lock, says so, and then asks again and again whether it has it: tsx frozen-holder.ts <address> <namespace> <ttl, ms>

const [address, namespace, ttl] = process.argv.slice(2) as [string, string, string];
const stafett = await connect(address, { namespace, ttl: Number(ttl) });
const lock = await stafett.locks.acquire('name');
let told: unknown;
lock.signal.addEventListener('abort', () => {
  told = (lock.signal.reason as { reason?: string }).reason;
});
process.stdout.write(`token ${lock.fencingToken}\n`);

// The very next line that asks after the process was frozen is one of these.
while (true) {
  const until = performance.now() + 20;
  while (performance.now() < until) {
    try {
      lock.assertHeld();
    } catch (error) {
      process.stdout.write(`lost ${(error as { reason?: string }).reason} aborted ${lock.signal.aborted} told ${told ?? 'not yet'}\n`);
      process.exit();
    }
  }
  await new Promise(setImmediate);
}
