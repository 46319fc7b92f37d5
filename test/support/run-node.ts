import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../clients/typescript/src/index.js';

// A process that serves runs of the type `report`: tsx run-node.ts <address> <namespace> <ttl, ms>. A run reports 10 %, takes as long, the first time, as its
// input says, ms, whatever its signal says, and returns who ran it. It says what it begins, is told, and ends.

const [address, namespace, ttl] = process.argv.slice(2) as [string, string, string];
const stafett = await connect(address, { namespace, ttl: Number(ttl) });
const say = (text: string) => process.stdout.write(`${text}\n`);

stafett.runs.define<number>('report', {
  id: () => '1',
  concurrency: 5,
  run: async (ms, run) => {
    say(`begins ${run.runId} attempt ${run.attempt}`);
    run.signal.addEventListener('abort', () => say(`told ${(run.signal.reason as { reason?: string }).reason}`));
    await run.progress({ percent: 10 });
    await sleep(run.attempt > 1 ? 0 : ms);
    say(`ends ${run.runId} aborted ${run.signal.aborted}`);
    return process.pid;
  },
});
say('ready');
