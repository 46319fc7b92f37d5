import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { EngineHarness } from '../support/engine-harness.js';
import { testSeed } from '../support/rng.js';
import { Coverage } from './coverage.js';
import { commandsHistory } from './histories.js';

const RUNS = Number(process.env.STAFETT_TEST_RUNS ?? 2_000);
/** So many meet every outcome. */
const COVERING_RUNS = 1_000;

describe('the lock engine', () => {
  let harness: EngineHarness;
  beforeAll(async () => {
    harness = await EngineHarness.start();
  });

  it(`does what the model says in ${RUNS} random histories of commands`, { timeout: 1_000_000 }, async () => {
    const coverage = new Coverage();
    await fc.assert(
      commandsHistory(() => harness, coverage.note),
      { numRuns: RUNS, seed: testSeed() },
    );
    if (RUNS >= COVERING_RUNS) expect(coverage.missing()).toEqual([]);
  });
});
