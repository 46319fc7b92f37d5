// `npm run bench:streams`: what an answer of an instance costs through one and two servers, beside a plain gRPC stream. See README.md beside this file.
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type Stafett } from '@stafett/client';
import { buildIfMissing } from './harness/build.js';
import { start, stop } from './harness/child.js';
import { CleanupStack } from './harness/cleanup.js';
import { cpuSeconds } from './harness/cpu.js';
import { repositoryRoot } from './harness/paths.js';
import { startRedis } from './harness/redis-server.js';
import { startStafett } from './harness/stafett-server.js';
import { median } from './harness/stats.js';
import { formatNumber, formatTable } from './harness/table.js';
import { BLOCK, readPlain } from './streams/plain.js';

const SOURCE = fileURLToPath(new URL('./streams/source.ts', import.meta.url));
const WARM_UP_MIB = 16;

interface Way {
  readonly title: string;
  read(blocks: number): Promise<number>;
}

/** Of one run. */
interface Figures {
  readonly mibPerSecond: number;
  /** CPU of all processes together, ms for each MiB. */
  readonly cpuMsPerMib: number;
}

async function readInstance({ instances }: Stafett, id: string, blocks: number): Promise<number> {
  let bytes = 0;
  for await (const chunk of instances.call(id, 'stream', { blocks })) bytes += chunk.length;
  return bytes;
}

async function measure(way: Way, mib: number, pids: readonly number[]): Promise<Figures> {
  const cpu = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const blocks = (mib * 2 ** 20) / BLOCK;
  const [cpuBefore, beganAt] = [cpu(), performance.now()];
  const bytes = await way.read(blocks);
  const seconds = (performance.now() - beganAt) / 1000;
  if (bytes !== mib * 2 ** 20) throw new Error(`${way.title}: ${bytes} bytes came`);
  return { mibPerSecond: mib / seconds, cpuMsPerMib: (1000 * (cpu() - cpuBefore)) / mib };
}

function print(ways: readonly Way[], figures: readonly Figures[][], mib: number): void {
  const of = (i: number, key: keyof Figures) => median((figures[i] as Figures[]).map((each) => each[key]));
  const rows = ways.map(({ title }, i) => {
    const ratio = median((figures[i] as Figures[]).map((each, run) => each.mibPerSecond / (figures[0]?.[run]?.mibPerSecond ?? Number.NaN)));
    return [title, formatNumber(of(i, 'mibPerSecond')), `${ratio.toFixed(2)}×`, formatNumber(of(i, 'cpuMsPerMib'))];
  });
  console.log(`\nAn answer of ${mib} MiB; medians of ${figures[0]?.length} runs, all processes on this machine\n`);
  console.log(formatTable(['', 'MiB/s', '× plain gRPC', 'CPU ms/MiB'], rows));
}

async function bench(mib: number, runs: number, cleanup: CleanupStack): Promise<void> {
  buildIfMissing(['server/dist/main.js', 'clients/typescript/dist/index.js']);
  const redis = await startRedis(cleanup);
  const [home, other] = [await startStafett(redis.url, cleanup), await startStafett(redis.url, cleanup)];
  const source = start(process.execPath, ['--import', 'tsx', SOURCE, home.grpcAddress], {
    cwd: repositoryRoot,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  cleanup.add(() => stop(source, 'SIGKILL'));
  const [{ port, id }] = (await once(source, 'message')) as [{ port: number; id: string }];
  const [near, far] = [await connect(home.grpcAddress), await connect(other.grpcAddress)];
  cleanup.add(() => near.close());
  cleanup.add(() => far.close());
  const ways: Way[] = [
    { title: 'plain gRPC, two processes', read: (blocks) => readPlain(port, blocks) },
    { title: 'through one server', read: (blocks) => readInstance(near, id, blocks) },
    { title: 'through two servers', read: (blocks) => readInstance(far, id, blocks) },
  ];
  const pids = [process.pid, source.pid as number, home.pid, other.pid];
  const figures: Figures[][] = ways.map(() => []);
  for (const way of ways) await measure(way, WARM_UP_MIB, pids);
  for (let run = 0; run < runs; run++) {
    for (const [i, way] of ways.entries()) figures[i]?.push(await measure(way, mib, pids));
  }
  print(ways, figures, mib);
}

const { values } = parseArgs({ options: { mib: { type: 'string', default: '256' }, runs: { type: 'string', default: '3' } } });
const cleanup = new CleanupStack();
cleanup.handleSignals();
bench(Number(values.mib), Number(values.runs), cleanup).then(
  () => cleanup.run().then(() => process.exit(0)),
  (error: unknown) => {
    console.error(error);
    void cleanup.run().then(() => process.exit(1));
  },
);
