import fc from 'fast-check';
import { beforeAll, describe, it } from 'vitest';
import { EngineHarness } from '../support/engine-harness.js';
import { testSeed } from '../support/rng.js';
import { nestingHistory } from './nesting.js';
import { playScenario, SCENARIOS } from './scenarios.js';

const RUNS = Math.ceil(Number(process.env.STAFETT_TEST_RUNS ?? 2_000) / 10);

describe('the queue rule, with nested acquires', () => {
  let harness: EngineHarness;
  beforeAll(async () => {
    harness = await EngineHarness.start();
  });

  it.each(SCENARIOS)('$name', (scenario) => playScenario(harness, scenario));

  it(`serves everybody in ${RUNS} random histories, and refuses only cycles of holds`, { timeout: 1_000_000 }, async () => {
    await fc.assert(
      nestingHistory(() => harness),
      { numRuns: RUNS, seed: testSeed() },
    );
  });
});
