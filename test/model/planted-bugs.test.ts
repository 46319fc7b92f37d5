import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { applyPatch, EngineHarness } from '../support/engine-harness.js';
import { testSeed } from '../support/rng.js';
import { commandsHistory } from './histories.js';
import { nestingHistory } from './nesting.js';
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.js';
import { playScenario, SCENARIOS } from './scenarios.js';
import { Violation } from './violation.js';

/** Random histories that may pass before the bug must be found. */
const HISTORIES_MAX = 1_500;

describe('the model finds a planted bug', () => {
  let harness: EngineHarness;
  beforeAll(async () => {
    harness = await EngineHarness.start();
  });

  async function findViolation(foundBy: PlantedBug['foundBy']): Promise<{ violation: unknown; histories: number }> {
    if (foundBy === 'scenarios') return { violation: await playAll(harness), histories: SCENARIOS.length };
    const history = foundBy === 'commands' ? commandsHistory(() => harness) : nestingHistory(() => harness);
    const options = { numRuns: HISTORIES_MAX, seed: testSeed(), endOnFailure: true };
    const result = await fc.check<unknown>(history, options);
    return { violation: result.errorInstance, histories: result.numRuns };
  }

  it.each(PLANTED_BUGS)('$bug', { timeout: 120_000 }, async ({ bug, patches, foundBy }) => {
    await harness.load(patches);
    const { violation, histories } = await findViolation(foundBy);
    expect(violation, `${bug}: not found in ${histories} histories`).toSatisfy(isFound);
    if (process.env.STAFETT_TEST_VERBOSE) console.log(`${histories}: ${bug}: ${(violation as Error).message.split('\n')[0]}`);
  });
});

/** The engine did what it must not, or stumbled over what the bug had left behind. */
function isFound(error: unknown): boolean {
  return (
    error instanceof Violation || (error instanceof Error && /user_function:\d+: attempt to (index|compare|perform)/.test(error.message))
  );
}

async function playAll(harness: EngineHarness): Promise<unknown> {
  for (const scenario of SCENARIOS) {
    try {
      await playScenario(harness, scenario);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

describe('a planted bug', () => {
  it('whose place is not found fails loudly', () => {
    expect(() => applyPatch('a b', { find: 'c', replace: '' })).toThrow('found it 0 times: c');
    expect(() => applyPatch('a a', { find: 'a', replace: '' })).toThrow('found it 2 times: a');
    expect(applyPatch('a a', { find: 'a', replace: 'b', times: 2 })).toBe('b b');
  });
});
