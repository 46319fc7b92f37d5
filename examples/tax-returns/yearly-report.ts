import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type RunType, type Stafett } from '@stafett/client';

const PAGES = 4;
const PAGE_MS = 300;

interface Input {
  readonly year: number;
}

/** One node's view of the report: what it is, and how it is made. */
function define(stafett: Stafett, onRun: () => void): RunType<Input, string> {
  return stafett.runs.define('yearly-report', {
    id: ({ year }: Input) => String(year),
    run: async ({ year }, run) => {
      onRun();
      for (let page = 1; page <= PAGES; page++) {
        await sleep(PAGE_MS, undefined, { signal: run.signal });
        await run.progress({ percent: (100 * page) / PAGES, message: `page ${page} of ${PAGES}` });
      }
      return `the report of ${year}, ${PAGES} pages`;
    },
  });
}

/** A report that all nodes are asked for at once: it is made once, and watched from another node. @returns how often it was made. */
export async function showReport(address: string, namespace: string, names: readonly string[]): Promise<number> {
  let made = 0;
  const nodes = await Promise.all(names.map((host) => connect(address, { client: 'tax-returns', host, namespace })));
  try {
    const reports = nodes.map((node) => define(node, () => made++));
    const input = { year: 2024 };
    const states = await Promise.all(reports.map((report) => report.startOrGetStatus(input, { restartIfNotRunning: true })));
    const makers = new Set(states.map((state) => state?.node?.host));
    const watcher = names.findIndex((name) => !makers.has(name));
    console.log(`   asked for by ${names.join(', ')}; run ${states[0]?.runId} on ${[...makers].join(', ')}`);
    for await (const { status, progress, result } of (reports[watcher] as RunType<Input, string>).watch(input)) {
      console.log(`   seen from ${names[watcher]}: ${status} ${progress?.percent ?? 0} % ${result ?? progress?.message ?? ''}`);
    }
    return made;
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
  }
}
