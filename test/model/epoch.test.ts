import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeBatch, encodeBatch } from '../../server/src/engine/codec.js';
import type { Command, Pass } from '../../server/src/engine/commands.js';
import { EngineHarness, type HarnessLimits, type Patch } from '../support/engine-harness.js';

// §4.5: what the engine does in the grace period of a new epoch, and that it does nothing for who believes in another one.

const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 100,
  maxLocksPerSession: 100,
  maxSessions: 100,
  maxNamespaces: 100,
  maxRuns: 100,
  lockRetentionMs: 10_000,
  expireBudget: 300,
};
const START_MS = 1_760_000_000_000;
const GRACE_MS = 10_000;

let harness: EngineHarness;

beforeAll(async () => {
  harness = await EngineHarness.start();
});

beforeEach(async () => {
  await harness.reset(START_MS * 1000);
  await harness.setEpoch({ grace: START_MS + GRACE_MS });
});

async function call(...commands: Command[]) {
  const { results, events, graceUntil, more } = await harness.call('server-1', commands, LIMITS);
  return {
    results: results as unknown[][],
    events: events.map(([event, lockId]) => `${event} ${lockId}`),
    tokens: events.map((event) => event[2]),
    graceUntil,
    more,
  };
}

async function one(command: Command): Promise<unknown[]> {
  return (await call(command)).results[0] as unknown[];
}

/** Who has it, and how many wait. */
async function holderOf(name: string): Promise<unknown[]> {
  const [, holder, waiters] = (await one(['inspect', name]))[1] as [string, unknown[] | false, number];
  return [holder ? holder.slice(0, 4) : false, waiters];
}

function pass(ms: number): void {
  harness.nowUs += ms * 1000;
}

const reopen = (sid: string): Command => ['reopen', sid, 60_000, '', 0];
const acquire = (sid: string, rid: string, names: string[], { wait = 1 as 0 | 1, context = [] as string[], ticket = 0 } = {}): Command => {
  const command = ['acquire', sid, rid, names, wait, '', context.length > 0 ? context : false, 0];
  return (ticket > 0 ? [...command, ticket] : command) as Command;
};
const claim = (sid: string, rid: string, names: string[], token: number): Command => ['claim', sid, rid, names, token, START_MS - 500, ''];

const scenarios = new Map<string, () => Promise<void>>();

function scenario(title: string, run: () => Promise<void>): void {
  scenarios.set(title, run);
  it(title, run);
}

describe('in the grace period', () => {
  scenario('a claimed grant is there again, with its id and its token', async () => {
    const { results } = await call(reopen('s1'), claim('s1', 'r1', ['a', 'b'], 77));
    expect(results).toEqual([
      ['opened', START_MS, START_MS + 60_000],
      ['granted', 77, START_MS - 500, START_MS + 60_000, 0],
    ]);
    expect(await holderOf('b')).toEqual([['s1', '', '', 77], 0]);
    expect(await one(claim('s1', 'r1', ['a', 'b'], 77))).toEqual(['granted', 77, START_MS - 500, START_MS + 60_000, 0]);
  });

  scenario('nothing else is granted: who does not wait is told so, who waits has it afterwards', async () => {
    await call(reopen('s1'), claim('s1', 'r0', ['a'], 77), ['release', 's1.r0']);
    const { results, graceUntil } = await call(acquire('s1', 'r1', ['a'], { wait: 0 }), acquire('s1', 'r2', ['a']));
    expect(results.map(([outcome]) => outcome)).toEqual(['grace', 'queued']);
    expect(graceUntil).toBe(START_MS + GRACE_MS);
    pass(GRACE_MS - 1);
    expect((await call()).events).toEqual([]);
    pass(1);
    expect((await call()).events).toEqual(['granted s1.r2']);
    await call();
    expect((await call()).graceUntil).toBe(0);
  });

  scenario('what is given back goes to nobody before it is over, and then to who had waited longest', async () => {
    await call(reopen('s1'), claim('s1', 'r1', ['a'], 77));
    await call(acquire('s1', 'new', ['a']), acquire('s1', 'second', ['a'], { ticket: 60 }), acquire('s1', 'first', ['a'], { ticket: 50 }));
    expect((await call(['release', 's1.r1'])).events).toEqual([]);
    pass(GRACE_MS);
    expect((await call()).events).toEqual(['granted s1.first']);
    expect((await call(['release', 's1.first'])).events).toEqual(['granted s1.second']);
    expect((await call(['release', 's1.second'])).events).toEqual(['granted s1.new']);
  });

  scenario('the later of two claims is refused', async () => {
    const { results } = await call(reopen('s1'), reopen('s2'), claim('s1', 'r', ['a'], 77), claim('s2', 'r', ['b', 'a'], 99));
    expect(results.slice(2).map(([outcome]) => outcome)).toEqual(['granted', 'conflict']);
    expect(await holderOf('b')).toEqual([false, 0]);
  });

  scenario('an acquire of a session that has not come again is neither queued nor refused', async () => {
    expect(await one(acquire('s1', 'r1', ['a']))).toEqual(['unconfirmed']);
    expect(await one(['keep', 's1', 0])).toEqual(['unconfirmed']);
    expect(await one(['release', 's1.r1'])).toEqual(['released']);
    pass(GRACE_MS);
    expect(await one(acquire('s1', 'r1', ['a']))).toEqual(['gone']);
    expect(await one(['keep', 's1', 0])).toEqual(['gone']);
  });

  scenario('a claim replaces an acquire that was asked again before it', async () => {
    await call(reopen('s1'), acquire('s1', 'r1', ['a'], { ticket: 50 }));
    expect(await one(claim('s1', 'r1', ['a'], 77))).toEqual(expect.arrayContaining(['granted', 77]));
    pass(GRACE_MS);
    expect((await call()).events).toEqual([]);
    expect(await holderOf('a')).toEqual([['s1', '', '', 77], 0]);
  });

  scenario('nested waiters and cycles are looked at as ever', async () => {
    await call(reopen('s1'), claim('s1', 'a', ['a'], 77), claim('s1', 'b', ['b'], 78));
    expect(await one(acquire('s1', 'x', ['b'], { context: ['s1.a'] }))).toContain('queued');
    expect(await one(acquire('s1', 'y', ['a'], { context: ['s1.b'] }))).toContain('deadlock');
    await call(['release', 's1.b']);
    pass(GRACE_MS);
    expect((await call()).events).toEqual(['granted s1.x']);
  });

  scenario('tokens go on above all that were claimed or seen', async () => {
    const high = START_MS * 1000 * 3;
    await call(['reopen', 's1', 60_000, '', high + 5], claim('s1', 'r1', ['a'], high));
    await call(acquire('s1', 'r2', ['b']));
    pass(GRACE_MS);
    const { tokens } = await call();
    expect(tokens[0]).toBeGreaterThan(high + 5);
  });

  scenario('a claim is remembered in the tokens', async () => {
    const high = START_MS * 1000 * 3;
    await call(reopen('s1'), claim('s1', 'r1', ['a'], high), acquire('s1', 'r2', ['b']));
    pass(GRACE_MS);
    expect((await call()).tokens[0]).toBeGreaterThan(high);
  });

  scenario('a session that runs out gives back what it had claimed, when it is over', async () => {
    await call(['reopen', 's1', 2_000, '', 0], reopen('s2'), claim('s1', 'r1', ['a'], 77), acquire('s2', 'r', ['a']));
    pass(5_000);
    expect((await call()).events).toEqual([]);
    pass(5_000);
    expect((await call()).events).toEqual(['granted s2.r']);
  });
});

describe('once it is over', () => {
  scenario('it is too late to come again', async () => {
    pass(GRACE_MS);
    const { results } = await call(reopen('s1'), claim('s1', 'r1', ['a'], 77));
    expect(results).toEqual([['gone'], ['gone']]);
  });

  scenario('everybody who queued is looked at, however many names it takes', async () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `n/${i}`);
    await call(reopen('s1'), reopen('s2'));
    for (let i = 0; i < names.length; i += 50)
      await harness.call(
        'server-1',
        names.slice(i, i + 50).map((name, j) => acquire('s2', `r${i + j}`, [name])),
        { ...LIMITS, maxLocksPerSession: 10_000 },
      );
    pass(GRACE_MS);
    let granted = 0;
    for (let more = true; more; ) {
      const reply = await call();
      granted += reply.events.length;
      ({ more } = reply);
    }
    expect(granted).toBe(names.length);
  });
});

describe('nothing is changed by a call', () => {
  const refusedFor = async (belief: Partial<Pass>) => {
    const belief0 = { epoch: 'first', run: 'run', expected: START_MS, toleranceMs: 200 };
    const batch = {
      serverId: 'server-1',
      seen: 0,
      limits: LIMITS,
      commands: [['open', 's9', 60_000, ''] as Command],
      pass: { ...belief0, ...belief },
    };
    const reply = decodeBatch(await harness.callRaw(encodeBatch(batch)), batch.commands);
    expect(await one(['session', 's9'])).toEqual('mistaken' in reply ? ['gone'] : expect.arrayContaining(['session']));
    return 'mistaken' in reply ? reply.mistaken : undefined;
  };

  it.each<[string, Partial<Pass>, string | undefined]>([
    ['of another epoch', { epoch: 'second' }, 'epoch'],
    ['for another Redis', { run: 'other' }, 'epoch'],
    ['that comes at another time: the clock was set forward', { expected: START_MS - 201 }, 'clock'],
    ['that comes at another time: the clock was set back', { expected: START_MS + 201 }, 'clock'],
    ['no: it may come a little late', { expected: START_MS - 200 }, undefined],
    ['no: whoever knows no time may ask', { expected: 0 }, undefined],
  ])('%s', async (_, belief, mistaken) => {
    await harness.setEpoch({ grace: 0 });
    expect(await refusedFor(belief)).toBe(mistaken);
  });
});

const NOTHING_NEW = 'nothing else is granted: who does not wait is told so, who waits has it afterwards';
const GIVEN_BACK = 'what is given back goes to nobody before it is over, and then to who had waited longest';
const CLAIMED = 'a claimed grant is there again, with its id and its token';

describe('a planted bug is found', () => {
  it.each<[string, Patch['find'], string, string]>([
    ['nothing is known of the grace period', 'inGrace = NOW < grace', 'inGrace = false', NOTHING_NEW],
    ['names are granted in the grace period', 'if inGrace or not allFree(locks)', 'if not allFree(locks)', NOTHING_NEW],
    ['the short way grants in the grace period', 'return not inGrace and alive(sid)', 'return alive(sid)', NOTHING_NEW],
    ['waiters are served in the grace period', 'if inGrace and #dirty > 0 then', 'if false then', GIVEN_BACK],
    ['nobody is served after it', 'for _, name in ipairs(names) do dirty[#dirty + 1] = name end\n  settle()', 'settle()', GIVEN_BACK],
    ['waiters come back at the end of the queue', 'ticket or nextSeq()', 'nextSeq()', GIVEN_BACK],
    ['a claim takes what is held', "if not allFree(locks) then return {'conflict'} end", '', 'the later of two claims is refused'],
    ['a claim gets a token of its own', 'GRANTED, token, since, 0, SERVER', 'GRANTED, nextSeq(), since, 0, SERVER', CLAIMED],
    [
      'a claim leaves its waiter in the queue',
      'if known then drop(id, known) end',
      '',
      'a claim replaces an acquire that was asked again before it',
    ],
    ['claimed tokens are forgotten', 'atLeast(token)\n  local acquire', 'local acquire', 'a claim is remembered in the tokens'],
    [
      'seen tokens are forgotten',
      'atLeast(token)\n  if not alive(sid)',
      'if not alive(sid)',
      'tokens go on above all that were claimed or seen',
    ],
    ['a session may come again for ever', "if not alive(sid) and not inGrace then return {'gone'} end", '', 'it is too late to come again'],
    [
      'only a part of the names is looked at',
      'unfinished = 1\nend\n\n-- KEYS: the prefix',
      'unfinished = 0\nend\n\n-- KEYS: the prefix',
      'everybody who queued is looked at, however many names it takes',
    ],
  ])('%s', async (_, find, replace, title) => {
    await harness.load([{ find, replace }]);
    await expect((scenarios.get(title) as () => Promise<void>)()).rejects.toThrow();
  });
});
