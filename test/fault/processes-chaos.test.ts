import { describe, expect, test } from 'vitest';
import { type ProcessChaosOptions, runProcessChaos } from '../chaos/processes.js';
import { sabotagedServer } from '../chaos/sabotage.js';
import { defaultRedisKind } from '../support/redis-kind.js';
import { testSeed } from '../support/rng.js';

// All faults of managed processes at random. In one of CI's two passes: what happens does not depend on where Redis runs.

const IN_DOCKER = defaultRedisKind() === 'docker';
const SECONDS = 12;
/** Runs that may pass before a violation must be found. */
const SEEDS_MAX = 5;

describe.skipIf(IN_DOCKER)('managed processes, hurt at random,', () => {
  test('never have more workers than wanted, nor one slot twice, and recover', { timeout: 240_000, retry: 0 }, async () => {
    const report = await runProcessChaos({ seed: testSeed(), seconds: SECONDS });
    console.log(`${report.runs} workers; faults: ${[...report.faults].map(([name, count]) => `${name} ${count}`).join(', ')}`);
    expect(report.violations).toEqual([]);
    expect(report.runs).toBeGreaterThan(5);
  });
});

describe.skipIf(IN_DOCKER)('the checker reports', () => {
  test('slots that are given to others before their workers have stopped', { timeout: 300_000 }, async () => {
    const dist = sabotagedServer({
      '../../processes/scripts/process-commands.lua': {
        find: /record\[DRAIN\] = 1\n.*/,
        replace: 'finish(record[LOCK_ID], readAcquire(record[LOCK_ID]), RELEASED)',
      },
    });
    const found = await findsWithin({ seconds: 4, faults: ['leave-and-join'], dist });
    expect(found).toContainEqual(expect.stringMatching(/^slot \d+ twice|workers at once/));
  });
});

async function findsWithin(options: Omit<ProcessChaosOptions, 'seed'>): Promise<readonly string[]> {
  for (let i = 0; i < SEEDS_MAX; i++) {
    const { violations } = await runProcessChaos({ ...options, seed: testSeed() + i });
    if (violations.some((violation) => !violation.startsWith('forgotten'))) return violations;
  }
  return [];
}
