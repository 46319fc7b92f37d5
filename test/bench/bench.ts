// `npm run bench`: see README.md beside this file.
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { contenderById } from './contenders/index.js';
import { buildIfMissing } from './harness/build.js';
import { CleanupStack } from './harness/cleanup.js';
import type { Job } from './harness/job.js';
import { type Measurement, Results } from './harness/results.js';
import { runJob } from './harness/run-job.js';
import { endpointsOf, type Services, startServices } from './harness/services.js';
import { type Options, parseOptions, UsageError, usage } from './options.js';
import { describeMachine, printMachine, printScenario, printSettings } from './report.js';
import { scenarios } from './scenarios/index.js';
import type { Scenario } from './scenarios/scenario.js';

interface Cell {
  scenario: Scenario;
  contender: string;
  size: number;
}

/** The cells of one run; contenders alternate within a size, so that a change in the machine's mood meets all of them. */
function cellsOf(scenario: Scenario, options: Options, services: Services): Cell[] {
  const sizes = scenario.sizes.filter((size) => options.sizes.length === 0 || options.sizes.includes(size));
  return sizes.flatMap((size) =>
    options.contenders
      .map(contenderById)
      .filter((contender) => contender.backend !== 'postgres' || services.postgres !== undefined)
      .filter((contender) => scenario.takesPart(contender, size))
      .map((contender) => ({ scenario, contender: contender.id, size })),
  );
}

async function measure(cell: Cell, run: number, options: Options, services: Services, cleanup: CleanupStack): Promise<Measurement> {
  const { scenario, contender, size } = cell;
  const measurement: Measurement = { scenario: scenario.id, contender, size, run };
  const job: Job = {
    scenario: scenario.id,
    contender,
    size,
    prefix: `bench-${scenario.id}-${run}-${contender}-${size}`,
    warmupMs: options.warmupMs,
    windowMs: scenario.windowMs(contenderById(contender), options),
    endpoints: endpointsOf(services),
  };
  try {
    measurement.metrics = await runJob(job, services, cleanup, profileArgs(options, `client-${contender}-${scenario.id}-${size}`));
  } catch (error) {
    measurement.error = error instanceof Error ? error.message : String(error);
  }
  return measurement;
}

/** A directory for each process: node names the files, one for each thread. */
function profileArgs(options: Options, name: string): string[] {
  return options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(options.profile, name)}`];
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function bench(options: Options, cleanup: CleanupStack): Promise<void> {
  const backends = new Set(options.contenders.map((id) => contenderById(id).backend));
  if (backends.has('stafett')) buildIfMissing(['server/dist/main.js']);
  if (options.contenders.includes('stafett')) buildIfMissing(['clients/typescript/dist/index.js']);
  if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
  const services = await startServices(backends, cleanup, profileArgs(options, 'server'));
  const machine = describeMachine(services);
  printMachine(machine, options);
  const measurements: Measurement[] = [];
  for (const scenario of scenarios.filter(({ id }) => options.scenarios.includes(id))) {
    const cells = cellsOf(scenario, options, services);
    if (cells.length === 0) continue;
    for (let run = 1; run <= options.runs; run++) {
      for (const [index, cell] of cells.entries()) {
        progress(`${scenario.id}: run ${run}/${options.runs}, cell ${index + 1}/${cells.length}: ${cell.contender}, ${cell.size}`);
        measurements.push(await measure(cell, run, options, services, cleanup));
        if (cleanup.begun) return new Promise(() => {}); // interrupted: the signal's handler ends the process
        if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ machine, options, measurements }, null, 2)}\n`);
      }
    }
    progress('');
    printScenario(scenario, new Results(measurements).of(scenario.id));
  }
  printSettings(options.contenders);
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(usage);
    return 0;
  }
  const cleanup = new CleanupStack();
  cleanup.handleSignals();
  try {
    await bench(options, cleanup);
    return 0;
  } finally {
    await cleanup.run();
  }
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : error);
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
