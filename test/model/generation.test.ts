import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Command } from '../../server/src/engine/commands.js';
import { EngineHarness, type HarnessLimits } from '../support/engine-harness.js';

// A server that was frozen may carry out, when it wakes, what its client asked for on a connection that it has given up since. What is
// over for the client must not begin anew.

const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 100,
  maxLocksPerSession: 100,
  maxSessions: 100,
  maxNamespaces: 100,
  maxRuns: 100,
  lockRetentionMs: 10_000,
  expireBudget: 300,
};

let harness: EngineHarness;

beforeAll(async () => {
  harness = await EngineHarness.start();
});

beforeEach(async () => {
  await harness.load([]);
  await harness.reset(1_760_000_000_000_000);
  await outcomes(['open', 's', 60_000, '']);
});

async function outcomes(...commands: Command[]): Promise<unknown[]> {
  const { results } = await harness.call('server-1', commands, LIMITS);
  return results.map((result) => (result as unknown[])[0]);
}

const acquire = (rid: string, generation: number): Command => ['acquire', 's', rid, ['a'], 1, '', false, 0, 0, generation];

const lateAfterRelease = () => outcomes(acquire('r', 2), ['release', 's.r'], acquire('r', 1));
const claim = (generation: number): Command => ['claim', 's', 'r', ['a'], 5, 0, '', generation];
/** The client said what it holds, by two connections, since Redis had lost it, and gave it back by the second. */
async function lateClaim(): Promise<unknown[]> {
  await harness.setEpoch({ grace: 1_760_000_010_000 });
  const reopen = (generation: number): Command => ['reopen', 's', 60_000, '', 0, generation];
  return outcomes(reopen(2), claim(2), ['release', 's.r'], reopen(1), claim(1), ['inspect', 'a']);
}
const lateAfterCancel = () => outcomes(['cancel', 's.r', '', 2], acquire('r', 1));

describe('an acquire by an earlier connection', () => {
  it('is refused when the session was used by a later one', async () => {
    expect(await lateAfterRelease()).toEqual(['granted', 'released', 'moved']);
  });

  it('is refused when it was cancelled by a later one', async () => {
    expect(await lateAfterCancel()).toEqual(['none', 'moved']);
  });

  it('is refused when the session came again by a later one, after Redis had lost it', async () => {
    expect(await outcomes(['reopen', 's', 60_000, '', 0, 2], acquire('r', 1))).toEqual(['opened', 'moved']);
  });

  it('is the same as ever as long as there is no later one, or nobody counts', async () => {
    expect(await outcomes(acquire('r', 1), acquire('r', 1), ['release', 's.r'], acquire('q', 0))).toEqual([
      'granted',
      'granted',
      'released',
      'granted',
    ]);
  });

  it('of a session that is gone leaves nothing behind', async () => {
    expect(await outcomes(['cancel', 'gone.r', '', 3], ['session', 'gone'])).toEqual(['none', 'gone']);
    expect((await harness.lastingKeys()).filter((key) => key.includes('gone'))).toEqual([]);
  });
});

describe('an assertion by an earlier connection', () => {
  it('brings back nothing that was given back by a later one', async () => {
    expect(await lateClaim()).toEqual(['opened', 'granted', 'released', 'opened', 'gone', 'lock']);
  });

  it('is as good as any as long as there is no later one', async () => {
    await harness.setEpoch({ grace: 1_760_000_010_000 });
    expect(await outcomes(claim(1), claim(1), claim(0))).toEqual(['granted', 'granted', 'granted']);
  });
});

describe('a planted bug is found:', () => {
  it.each([
    ['nobody looks at connections', 'return generation >= latest', 'return true', lateAfterRelease],
    [
      'acquires that are joined come by whatever connection',
      'local isShort = isLatest(sid, generation)',
      'local isShort = true',
      lateAfterRelease,
    ],
    ['claims come by whatever connection', ' or not isLatest(sid, generation)', '', lateClaim],
    ['a cancel does not note its connection', 'isLatest((split(id)), generation) --', '--', lateAfterCancel],
  ])('%s', async (_, find, replace, scenario) => {
    const right = await scenario();
    await harness.load([{ find, replace }]);
    await harness.reset(1_760_000_000_000_000);
    await outcomes(['open', 's', 60_000, '']);
    expect(await scenario()).not.toEqual(right);
  });
});
