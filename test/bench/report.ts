import { cpus, release, totalmem, type } from 'node:os';
import { contenderById } from './contenders/index.js';
import type { Results } from './harness/results.js';
import type { Services } from './harness/services.js';
import type { Options } from './options.js';
import type { Scenario, Target } from './scenarios/scenario.js';

/** The machine and the versions, for whoever compares figures later. */
export function describeMachine(services: Services): Record<string, string> {
  return {
    cores: `${cpus().length} × ${cpus()[0]?.model.trim() ?? '?'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`,
    node: process.version,
    redis: services.redis.version,
    ...(services.postgres !== undefined && { postgres: services.postgres.version }),
  };
}

export function printMachine(machine: Record<string, string>, options: Options): void {
  console.log('Clients, servers and Redis share this machine:');
  for (const [name, value] of Object.entries(machine)) console.log(`  ${name}: ${value}`);
  const cell = `${options.warmupMs / 1000} s warm-up and ${options.windowMs / 1000} s measured per cell`;
  console.log(`Medians of ${options.runs} run${options.runs === 1 ? '' : 's'}, ${cell}. CPU in per cent of one core.\n`);
}

/** The scenario's table, what failed in it, and its targets. */
export function printScenario(scenario: Scenario, results: Results): void {
  console.log(`\n## ${scenario.title}\n\n${scenario.table(results)}`);
  for (const size of results.sizes()) {
    for (const contender of results.contendersAt(size)) {
      const error = results.error(contender, size);
      if (error !== undefined)
        console.log(`failed: ${contenderById(contender).title}, ${size}: ${error.split('\n').slice(0, 3).join(' | ')}`);
    }
  }
  const targets = results.medians('stafett', results.sizes()[0] ?? 0) === undefined ? [] : scenario.targets(results);
  if (targets.length > 0) console.log(`\n${targets.map(targetLine).join('\n')}`);
}

export function printSettings(ids: readonly string[]): void {
  console.log('\nSettings');
  for (const id of ids) console.log(`  ${contenderById(id).title}: ${contenderById(id).settings}`);
}

function targetLine({ text, measured, reached }: Target): string {
  const mark = reached === undefined ? '?    not measured' : reached ? '✓ pass' : '✗ miss';
  return `${mark}  ${text}${reached === undefined ? '' : `: ${measured}`}`;
}
