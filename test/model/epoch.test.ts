import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeBatch, encodeBatch } from '../../server/src/engine/codec.js';
import type { Command, Pass } from '../../server/src/engine/commands.js';
import { EngineHarness, type HarnessLimits } from '../support/engine-harness.js';

// §4.5: what the engine does in the grace period of a new epoch, and that it does nothing for who believes in another one.

const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 100,
  maxLocksPerSession: 100,
  maxSessions: 100,
  maxNamespaces: 100,
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
  const { results, events, graceUntil } = await harness.call('server-1', commands, LIMITS);
  return {
    results: results as unknown[][],
    events: events.map(([event, lockId]) => `${event} ${lockId}`),
    tokens: events.map((event) => event[2]),
    graceUntil,
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

describe('in the grace period', () => {
  it('a claimed grant is there again, with its id and its token', async () => {
    const { results } = await call(reopen('s1'), claim('s1', 'r1', ['a', 'b'], 77));
    expect(results).toEqual([
      ['opened', START_MS, START_MS + 60_000],
      ['granted', 77, START_MS - 500, START_MS + 60_000, 0],
    ]);
    expect(await holderOf('b')).toEqual([['s1', '', '', 77], 0]);
    expect(await one(claim('s1', 'r1', ['a', 'b'], 77))).toEqual(['granted', 77, START_MS - 500, START_MS + 60_000, 0]);
  });

  it('nothing else is granted: who does not wait is told so, who waits has it afterwards', async () => {
    const { results, graceUntil } = await call(reopen('s1'), acquire('s1', 'r1', ['a'], { wait: 0 }), acquire('s1', 'r2', ['a']));
    expect(results.map(([outcome]) => outcome)).toEqual(['opened', 'grace', 'queued']);
    expect(graceUntil).toBe(START_MS + GRACE_MS);
    pass(GRACE_MS - 1);
    expect((await call()).events).toEqual([]);
    pass(1);
    expect((await call()).events).toEqual(['granted s1.r2']);
    await call();
    expect((await call()).graceUntil).toBe(0);
  });

  it('what is given back goes to nobody before it is over, and then to who had waited longest', async () => {
    await call(reopen('s1'), claim('s1', 'r1', ['a'], 77));
    await call(acquire('s1', 'new', ['a']), acquire('s1', 'second', ['a'], { ticket: 60 }), acquire('s1', 'first', ['a'], { ticket: 50 }));
    expect((await call(['release', 's1.r1'])).events).toEqual([]);
    pass(GRACE_MS);
    expect((await call()).events).toEqual(['granted s1.first']);
    expect((await call(['release', 's1.first'])).events).toEqual(['granted s1.second']);
    expect((await call(['release', 's1.second'])).events).toEqual(['granted s1.new']);
  });

  it('the later of two claims is refused', async () => {
    const { results } = await call(reopen('s1'), reopen('s2'), claim('s1', 'r', ['a'], 77), claim('s2', 'r', ['b', 'a'], 99));
    expect(results.slice(2).map(([outcome]) => outcome)).toEqual(['granted', 'conflict']);
    expect(await holderOf('b')).toEqual([false, 0]);
  });

  it('an acquire of a session that has not come again is neither queued nor refused', async () => {
    expect(await one(acquire('s1', 'r1', ['a']))).toEqual(['unconfirmed']);
    expect(await one(['keep', 's1', 0])).toEqual(['unconfirmed']);
    expect(await one(['release', 's1.r1'])).toEqual(['released']);
    pass(GRACE_MS);
    expect(await one(acquire('s1', 'r1', ['a']))).toEqual(['gone']);
    expect(await one(['keep', 's1', 0])).toEqual(['gone']);
  });

  it('a claim replaces an acquire that was asked again before it', async () => {
    await call(reopen('s1'), acquire('s1', 'r1', ['a'], { ticket: 50 }));
    expect(await one(claim('s1', 'r1', ['a'], 77))).toEqual(expect.arrayContaining(['granted', 77]));
    pass(GRACE_MS);
    expect((await call()).events).toEqual([]);
    expect(await holderOf('a')).toEqual([['s1', '', '', 77], 0]);
  });

  it('nested waiters and cycles are looked at as ever', async () => {
    await call(reopen('s1'), claim('s1', 'a', ['a'], 77), claim('s1', 'b', ['b'], 78));
    expect(await one(acquire('s1', 'x', ['b'], { context: ['s1.a'] }))).toContain('queued');
    expect(await one(acquire('s1', 'y', ['a'], { context: ['s1.b'] }))).toContain('deadlock');
    await call(['release', 's1.b']);
    pass(GRACE_MS);
    expect((await call()).events).toEqual(['granted s1.x']);
  });

  it('tokens go on above all that were claimed or seen', async () => {
    const high = START_MS * 1000 * 3;
    await call(['reopen', 's1', 60_000, '', high + 5], claim('s1', 'r1', ['a'], high));
    await call(acquire('s1', 'r2', ['b']));
    pass(GRACE_MS);
    const { tokens } = await call();
    expect(tokens[0]).toBeGreaterThan(high + 5);
  });

  it('a session that runs out gives back what it had claimed, when it is over', async () => {
    await call(['reopen', 's1', 2_000, '', 0], reopen('s2'), claim('s1', 'r1', ['a'], 77), acquire('s2', 'r', ['a']));
    pass(5_000);
    expect((await call()).events).toEqual([]);
    pass(5_000);
    expect((await call()).events).toEqual(['granted s2.r']);
  });
});

describe('once it is over', () => {
  it('it is too late to come again', async () => {
    pass(GRACE_MS);
    const { results } = await call(reopen('s1'), claim('s1', 'r1', ['a'], 77));
    expect(results).toEqual([['gone'], ['gone']]);
  });

  it('everybody who queued is looked at, however many names it takes', async () => {
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
    for (let calls = 0; granted < names.length && calls < 10; calls++) granted += (await call()).events.length;
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
    const reply = decodeBatch(await harness.callRaw(encodeBatch(batch)));
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
