import { describe, expect, test } from 'vitest';
import { type ChaosOptions, runChaos, showReport } from '../chaos/run.js';
import { sabotagedServer } from '../chaos/sabotage.js';
import { defaultRedisKind } from '../support/redis-kind.js';
import { testSeed } from '../support/rng.js';

// A short run of `npm run chaos`, which sets these. Not with Testcontainers: what happens does not depend on where Redis runs.

const IN_DOCKER = defaultRedisKind() === 'docker';
const SECONDS = Number(process.env.STAFETT_CHAOS_SECONDS ?? 20);
const RUNS = Number(process.env.STAFETT_CHAOS_RUNS ?? 1);
const FAULTS = process.env.STAFETT_CHAOS_FAULTS?.split(',');

test.skipIf(IN_DOCKER).each(Array.from({ length: RUNS }, (_, i) => i))(
  'chaos %i: no lock in two hands, no token back, no lost update, nobody forgotten',
  { timeout: (SECONDS + 120) * 1_000 },
  async (run) => {
    const progress = (line: string) => console.log(`chaos: ${line}`);
    const report = await runChaos({ seed: testSeed() + run, seconds: SECONDS, progress, ...(FAULTS && { faults: FAULTS }) });
    console.log(showReport(report));
    expect(report.violations).toEqual([]);
    expect(report.succeeded).toBeGreaterThan(0);
  },
);

/** Runs that may pass before a violation must be found. */
const SEEDS_MAX = 8;

async function findsWithin(options: Omit<ChaosOptions, 'seed'>): Promise<string[]> {
  for (let i = 0; i < SEEDS_MAX; i++) {
    const { violations } = await runChaos({ ...options, seed: testSeed() + i });
    if (violations.length > 0) return [...violations];
  }
  return [];
}

describe.skipIf(IN_DOCKER || RUNS > 1 || SECONDS > 30)('the checker reports', () => {
  test('an overlap or a lost update, if nobody asks whether the lock is held, and the register does not look at tokens', {
    timeout: 300_000,
  }, async () => {
    const found = await findsWithin({ seconds: 8, clients: 3, faults: ['freeze-client'], assertHeld: false, fencing: false });
    expect(found).toContainEqual(expect.stringMatching(/^overlap|^lost updates/));
  });

  test('an overlap or a token that went back, if names are granted in the grace period', { timeout: 300_000 }, async () => {
    const dist = sabotagedServer({
      'lock-commands.lua': { find: 'if inGrace or not allFree(locks)', replace: 'if not allFree(locks)' },
      'short-way.lua': { find: 'or inGrace or acquireCount', replace: 'or acquireCount' },
      'queues.lua': { find: 'if inGrace and #dirty > 0 then', replace: 'if false then' },
    });
    const found = await findsWithin({ seconds: 10, clients: 4, faults: ['flush-redis'], dist });
    expect(found).toContainEqual(expect.stringMatching(/^overlap|^token went back/));
  });

  test('somebody who was forgotten, if a release serves nobody', { timeout: 300_000 }, async () => {
    const dist = sabotagedServer({ 'queues.lua': { find: 'promote(dirty[i])', replace: '' } });
    const found = await findsWithin({ seconds: 2, clients: 3, faults: ['kill-subscription'], dist });
    expect(found).toContainEqual(expect.stringMatching(/^forgotten/));
  });
});
