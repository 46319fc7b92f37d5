import { describe, expect, test } from 'vitest';
import { type ChaosOptions, runChaos, showReport } from '../chaos/run.js';
import { sabotagedServer } from '../chaos/sabotage.js';
import { SITE_KINDS, type SiteKind } from '../chaos/site.js';
import { defaultRedisKind } from '../support/redis-kind.js';
import { testSeed } from '../support/rng.js';

// A short run of `npm run chaos`, which sets these. Not with Testcontainers: what happens does not depend on where Redis runs.

const IN_DOCKER = defaultRedisKind() === 'docker';
const SECONDS = Number(process.env.STAFETT_CHAOS_SECONDS ?? 20);
const RUNS = Number(process.env.STAFETT_CHAOS_RUNS ?? 1);
/** By `npm run chaos`. */
const IS_COMMAND = process.env.STAFETT_CHAOS_RUNS !== undefined;
const FAULTS = process.env.STAFETT_CHAOS_FAULTS?.split(',');
const SERVERS = Number(process.env.STAFETT_CHAOS_SERVERS ?? 2);
const CLIENTS = Number(process.env.STAFETT_CHAOS_CLIENTS ?? 4);
const REDIS = siteKind(process.env.STAFETT_CHAOS_REDIS);

function siteKind(text = 'single'): SiteKind {
  const kind = SITE_KINDS.find((each) => each === text);
  if (kind === undefined) throw new Error(`STAFETT_CHAOS_REDIS must be one of ${SITE_KINDS.join(', ')}, and is '${text}'`);
  return kind;
}

async function expectNoViolation(options: ChaosOptions): Promise<void> {
  const report = await runChaos({ progress: (line) => console.log(`chaos: ${line}`), ...options });
  console.log(showReport(report));
  expect(report.violations).toEqual([]);
  expect(report.succeeded).toBeGreaterThan(0);
}

test.skipIf(IN_DOCKER).each(Array.from({ length: RUNS }, (_, i) => i))(
  'chaos %i: no lock in two hands, no token back, no lost update, nothing missed or stale, nobody forgotten',
  { timeout: (SECONDS + 120) * 1_000, retry: 0 },
  async (run) => {
    const size = { seconds: SECONDS, servers: SERVERS, clients: CLIENTS, redis: REDIS };
    await expectNoViolation({ seed: testSeed() + run, ...size, ...(FAULTS && { faults: FAULTS }) });
  },
);

const HANGING_WHILE_FLUSHED = { clients: 5, lanes: 1, workMsMax: 300, faults: ['half-open-clients', 'flush-redis'], together: true };

/** What only the masters of a cluster suffer, and some of what all do. */
const OF_CLUSTER = ['kill-master', 'hand-over-master', 'move-slot', 'freeze-redis', 'cut-redis', 'kill-server'];

describe.skipIf(IN_DOCKER || IS_COMMAND)('the same', () => {
  test('of a cluster', { timeout: 240_000, retry: 0 }, () =>
    expectNoViolation({ seed: testSeed(), seconds: 15, redis: 'cluster', clients: 3, news: false, faults: OF_CLUSTER }),
  );

  // This seed found that an assertion which comes late, by a connection that was given up, took a lock once more.
  test('when connections hang while Redis is flushed', { timeout: 240_000, retry: 0 }, () =>
    expectNoViolation({ ...HANGING_WHILE_FLUSHED, seed: 80, seconds: 10, news: false }),
  );
});

/** Runs that may pass before a violation must be found. */
const SEEDS_MAX = 8;

async function expectToFind(wanted: RegExp, options: Omit<ChaosOptions, 'seed'>): Promise<void> {
  let found: readonly string[] = [];
  for (let i = 0; i < SEEDS_MAX; i++) {
    found = (await runChaos({ news: false, ...options, seed: testSeed() + i })).violations;
    if (found.some((violation) => wanted.test(violation))) return;
  }
  expect(found).toContainEqual(expect.stringMatching(wanted));
}

describe.skipIf(IN_DOCKER || IS_COMMAND)('the checker reports', () => {
  test('a lost update, if the register does not look at tokens', { timeout: 600_000 }, async () => {
    await expectToFind(/^lost updates/, { seconds: 20, clients: 3, stallMsMax: 400, faults: ['freeze-client'], fencing: false });
  });

  test('an overlap, if clients believe in their session until a server tells them otherwise', { timeout: 600_000 }, async () => {
    await expectToFind(/^overlap/, { seconds: 15, clients: 3, faults: ['freeze-client'], deadline: false });
  });

  test('an overlap, if nobody looks which epoch it is', { timeout: 600_000 }, async () => {
    const dist = sabotagedServer({
      'epoch.lua': { find: "if fields[1] ~= id or fields[2] ~= run then return 'epoch' end", replace: "fields[3] = fields[3] or '0'" },
    });
    await expectToFind(/^overlap/, { seconds: 15, clients: 5, lanes: 1, workMsMax: 300, faults: ['flush-redis'], dist });
  });

  test('an overlap, if names are granted in the grace period', {
    timeout: 600_000,
  }, async () => {
    const dist = sabotagedServer({
      'lock-commands.lua': { find: 'if inGrace or not allFree(locks)', replace: 'if not allFree(locks)' },
      'short-way.lua': { find: 'return not inGrace and alive(sid)', replace: 'return alive(sid)' },
      'queues.lua': { find: 'if inGrace and #dirty > 0 then', replace: 'if false then' },
    });
    // Those who cannot be reached go on in what others are given: what the grace period is for.
    await expectToFind(/^overlap/, { ...HANGING_WHILE_FLUSHED, seconds: 15, dist });
  });

  test('a publication that is missing, if servers do not look whether they heard of the one before', { timeout: 600_000 }, async () => {
    const dist = sabotagedServer({
      '../../events/feed.js': { find: '(before[this.#depth] ?? 0) > this.#offset', replace: 'false' },
    });
    await expectToFind(/^missing/, { seconds: 10, clients: 2, faults: ['lose-messages'], news: true, dist });
  });

  test('somebody who was forgotten, if a release serves nobody', { timeout: 600_000 }, async () => {
    const dist = sabotagedServer({ 'queues.lua': { find: 'promote(dirty[i])', replace: '' } });
    await expectToFind(/^forgotten/, { seconds: 2, clients: 3, faults: ['kill-subscription'], dist });
  });
});
