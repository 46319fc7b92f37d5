import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { applyPatch, EngineHarness } from '../support/engine-harness.js';
import { testSeed } from '../support/rng.js';
import { commandsHistory } from './histories.js';
import { nestingHistory } from './nesting.js';
import { PLANTED_BUGS } from './planted-bugs.js';
import { Violation } from './violation.js';

/** Histories that may pass before the bug must be found. */
const RUNS_MAX = 1_500;

describe('the model finds a planted bug', () => {
  let harness: EngineHarness;
  beforeAll(async () => {
    harness = await EngineHarness.start();
  });

  it.each(PLANTED_BUGS)('$bug', { timeout: 120_000 }, async ({ bug, patches, foundBy }) => {
    await harness.load(patches);
    const options = { numRuns: RUNS_MAX, seed: testSeed(), endOnFailure: true };
    const history = foundBy === 'commands' ? commandsHistory(() => harness) : nestingHistory(() => harness);
    const result = await fc.check<unknown>(history, options);
    expect(result.failed, `${bug}: not found in ${result.numRuns} histories`).toBe(true);
    expect(result.errorInstance).toBeInstanceOf(Violation);
    if (process.env.STAFETT_TEST_VERBOSE)
      console.log(`${result.numRuns}: ${bug}: ${(result.errorInstance as Error).message.split('\n')[0]?.slice(0, 200)}`);
  });
});

describe('a planted bug', () => {
  it('whose place is not found fails loudly', () => {
    expect(() => applyPatch('a b', { find: 'c', replace: '' })).toThrow('found it 0 times: c');
    expect(() => applyPatch('a a', { find: 'a', replace: '' })).toThrow('found it 2 times: a');
    expect(applyPatch('a a', { find: 'a', replace: 'b', times: 2 })).toBe('b b');
  });
});
