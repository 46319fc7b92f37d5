import assert from 'node:assert/strict';
import type { Command } from '../../server/src/engine/commands.js';
import type { EngineHarness, HarnessLimits } from '../support/engine-harness.js';

/** What the engine promises about settings and events, one small history for each promise. Each throws an AssertionError if it is broken. */

const LIMITS: HarnessLimits = {
  maxWaitersPerLock: 10,
  maxLocksPerSession: 10,
  maxSessions: 10,
  maxNamespaces: 10,
  lockRetentionMs: 1_000,
  maxRuns: 10,
  expireBudget: 300,
};
const EPOCH = 'first';
const START_US = 1_700_000_000_000_000;
const SETTINGS_MAX = 200;
const BYTES_MAX = 1_000_000;
const WINDOW_MS = 60_000;

/** The engine, from an empty Redis. */
export class NewsDesk {
  readonly #harness: EngineHarness;
  #requests = 0;

  static async open(harness: EngineHarness): Promise<NewsDesk> {
    await harness.reset(START_US);
    return new NewsDesk(harness);
  }

  private constructor(harness: EngineHarness) {
    this.#harness = harness;
  }

  async run(...commands: Command[]): Promise<unknown[][]> {
    const results: unknown[][] = [];
    for (let i = 0; i < commands.length; i += 500) {
      results.push(...((await this.#harness.call('server-1', commands.slice(i, i + 500), LIMITS)).results as unknown[][]));
    }
    return results;
  }

  async one(command: Command): Promise<unknown[]> {
    return (await this.run(command))[0] as unknown[];
  }

  pass(ms: number): void {
    this.#harness.nowUs += ms * 1_000;
  }

  /** Redis has forgotten all, and servers that know more may come. */
  async forget(graceMs: number): Promise<void> {
    await this.#harness.reset(this.#harness.nowUs);
    await this.#harness.setEpoch({ grace: this.#harness.nowUs / 1_000 + graceMs });
  }

  change(key: string, value: string | false, { ifRevision = -1, since = -1, request = `r${this.#requests++}` } = {}): Command {
    return ['setting_change', EPOCH, key, value, ifRevision, since, 'author', request, SETTINGS_MAX, BYTES_MAX];
  }

  /** Changes a setting. Returns the revision. */
  async set(key: string, value: string | false): Promise<number> {
    const [outcome, revision] = await this.one(this.change(key, value));
    assert.equal(outcome, 'changed');
    return revision as number;
  }

  /** Its revision, or false. */
  async revisionOf(key: string): Promise<number | false> {
    const [, record] = (await this.one(['setting_get', EPOCH, key])) as [string, [number] | false];
    return record === false ? false : record[0];
  }

  assertion(
    revision: number,
    settings: Record<string, number>,
    { fromFile = 0 as 0 | 1, requests = [] as (string | number)[] } = {},
  ): Command {
    const entries = Object.entries(settings).flatMap(([key, of]) => [key, [of, '"asserted"', 1, 'author', `of ${of}`]]);
    return ['setting_assert', EPOCH, revision, fromFile, entries as never, requests];
  }

  /** Publishes one event in each channel. Returns the offsets. */
  async publish(channels: string[], { key = '', size = 0, ageMs = 10_000 } = {}): Promise<number[]> {
    const publications = channels.map((channel) => {
      const parts = channel.split('/');
      const prefixes = parts.slice(0, -1).map((_, i) => `${parts.slice(0, i + 1).join('/')}/*`);
      return [[channel, '*', ...prefixes], '1', '', key, [size, ageMs, 0]];
    });
    const [, , results] = (await this.one(['publish', publications as never, WINDOW_MS])) as [string, string, [number, 0 | 1][]];
    return results.map(([offset]) => offset);
  }

  /** Offset and the one before it, in the feed, of each entry; and the feed's last offset. */
  async replay(feed: string, from: number, depth: number): Promise<{ chain: [number, number][]; tail: number }> {
    const [, , entries, , , tail] = await this.one(['replay', feed, from, 100]);
    const list = Array.isArray(entries) ? (entries as [string, number, number[]][]) : [];
    return { chain: list.map(([, offset, before]) => [offset, before[depth] as number]), tail: tail as number };
  }
}

type Scenario = (desk: NewsDesk) => Promise<void>;

export const NEWS_SCENARIOS: Readonly<Record<string, Scenario>> = {
  async 'a change at another revision than expected changes nothing'(desk) {
    const first = await desk.set('a', '1');
    const refused = await desk.run(...[0, first - 1, first + 1].map((ifRevision) => desk.change('a', '2', { ifRevision })));
    assert.deepEqual(refused, Array(3).fill(['mismatch', first, first]));
    assert.equal((await desk.one(desk.change('a', false, { ifRevision: first + 1 })))[0], 'mismatch');
    assert.equal((await desk.one(desk.change('none', '1', { ifRevision: first })))[0], 'mismatch');
    assert.equal(await desk.revisionOf('a'), first);
    assert.equal((await desk.one(desk.change('a', '2', { ifRevision: first })))[0], 'changed');
  },

  async 'a late change undoes nothing, and a repeated one is one'(desk) {
    const first = await desk.set('a', '1');
    const mine = desk.change('a', '2', { since: first });
    const [, second] = (await desk.one(mine)) as [string, number];
    const third = await desk.set('a', false);
    assert.deepEqual((await desk.one(mine)).slice(0, 3), ['changed', second, -1]);
    assert.equal((await desk.one(desk.change('a', '2', { since: second })))[0], 'mismatch');
    assert.equal((await desk.one(desk.change('a', '2', { since: second, ifRevision: 0 })))[0], 'mismatch');
    assert.equal(await desk.revisionOf('a'), false);
    assert.equal((await desk.one(desk.change('a', '3', { since: third })))[0], 'changed');
    await desk.forget(0);
    const requests = ['a', mine[7] as string, second];
    await desk.run(desk.assertion(third, { a: third - 10 }, { requests }));
    await desk.run(desk.change('a', '4'));
    assert.deepEqual((await desk.one(mine)).slice(0, 3), ['changed', second, -1]);
  },

  async 'the log is whole, or says that it is not'(desk) {
    await desk.run(...Array.from({ length: 1_010 }, (_, i) => desk.change('a', `${i}`)));
    const last = (await desk.revisionOf('a')) as number;
    const [, revision, floor, , log] = (await desk.one(['setting_dump', EPOCH])) as [string, number, number, unknown, [number, number][]];
    assert.deepEqual([revision, log.length], [last, 1_000]);
    log.forEach(([, before], i) => void assert.equal(before, i === 0 ? floor : log[i - 1]?.[0]));
    const from = log.at(-21)?.[0] as number;
    const [outcome, changes] = (await desk.one(['setting_since', EPOCH, from])) as [string, [number][]];
    assert.deepEqual([outcome, changes.map(([each]) => each)], ['changes', log.slice(-20).map(([each]) => each)]);
    assert.deepEqual(await desk.one(['setting_since', EPOCH, floor - 1]), ['compacted']);
    assert.equal((await desk.one(['setting_since', EPOCH, floor]))[0], 'changes');
  },

  async 'of what servers bring after a loss the newest stays'(desk) {
    const a = await desk.set('a', '1');
    const deleted = await desk.set('d', '1');
    await desk.set('d', false);
    const e = await desk.set('e', '1');
    await desk.one(desk.assertion(e + 100, { a: a - 5, d: deleted, f: e + 50 }));
    assert.deepEqual(await revisions(desk, 'a', 'd', 'e', 'f'), [a, false, false, e + 50]);
    await desk.one(desk.assertion(e + 90, { g: e + 80 })); // of one that has missed something
    assert.deepEqual(await revisions(desk, 'a', 'f', 'g'), [a, e + 50, false]);
    const next = await desk.set('h', '1');
    assert.ok(next > e + 100);
    await desk.one(desk.assertion(next + 1_000, { i: next + 500 }, { fromFile: 1 })); // of a file, after a change
    assert.deepEqual(await revisions(desk, 'h', 'i'), [next, false]);
  },

  async 'nothing is told or changed before servers have said what they know'(desk) {
    const a = await desk.set('a', '1');
    await desk.forget(1_000);
    const asked: Command[] = [
      desk.change('a', '2'),
      ['setting_get', EPOCH, 'a'],
      ['setting_list', EPOCH, '', '', 10, 1_000],
      ['setting_dump', EPOCH],
    ];
    for (const result of await desk.run(...asked)) assert.deepEqual(result, ['grace', 1_000]);
    await desk.one(desk.assertion(a, { a }));
    assert.equal(await desk.revisionOf('a'), a);
    for (const command of asked) {
      const elsewhere = [command[0], 'another', ...command.slice(2)] as Command;
      assert.deepEqual(await desk.one(elsewhere), ['unasserted']);
    }
    assert.deepEqual(await desk.one(['setting_assert', 'another', a + 1, 0, [], []]), ['unasserted']);
  },

  async 'a late change waits for all who may know of later ones'(desk) {
    const first = await desk.set('a', '1');
    const late = desk.change('a', '2', { since: first });
    const [, mine] = (await desk.one(late)) as [string, number];
    const last = await desk.set('a', '3');
    await desk.forget(1_000);
    await desk.one(desk.assertion(first, { a: first })); // of one that has not heard of the others
    assert.deepEqual(await desk.run(late, desk.change('a', '4')), Array(2).fill(['grace', 1_000]));
    await desk.one(desk.assertion(last, { a: last }));
    desk.pass(1_000);
    assert.deepEqual(await desk.one(late), ['mismatch', last, last]);
    await desk.one(desk.assertion(last + 1, { a: last }, { requests: ['a', late[7] as string, mine] }));
    assert.deepEqual((await desk.one(late)).slice(0, 3), ['changed', mine, -1]);
  },

  async 'there are not more settings, nor bytes of them, than may be'(desk) {
    const half = `"${'x'.repeat(BYTES_MAX / 2)}"`;
    await desk.set('a', half);
    assert.deepEqual(await desk.one(desk.change('b', half)), ['too_many']);
    for (const value of ['1', half, '1', half, '1']) await desk.set('a', value);
    await desk.run(...Array.from({ length: SETTINGS_MAX - 1 }, (_, i) => desk.change(`${i}`, '1')));
    assert.deepEqual(await desk.one(desk.change('one more', '1')), ['too_many']);
    await desk.set('a', '2');
  },

  async 'a publication with a key happens once in its channel, for so long'(desk) {
    const [first] = await desk.publish(['a'], { key: 'k', size: 10 });
    assert.deepEqual(await desk.publish(['a'], { key: 'k', size: 10 }), [first]);
    const [other] = await desk.publish(['b'], { key: 'k', size: 10 });
    assert.notEqual(other, first);
    assert.equal((await desk.replay('a', 0, 0)).chain.length, 1);
  },

  async 'publications of a channel and of its prefixes are chains up to the last'(desk) {
    const offsets = [
      ...(await desk.publish(['case/1', 'case/2', 'case/1', 'news'], { size: 10 })),
      ...(await desk.publish(['case/2'], { size: 10 })),
    ];
    const [one, two, three, , five] = offsets as [number, number, number, number, number];
    for (const [feed, depth, expected] of [
      ['case/1', 0, [one, three]],
      ['case/*', 2, [one, two, three, five]],
      ['*', 1, offsets],
    ] as const) {
      const { chain, tail } = await desk.replay(feed, 0, depth);
      assert.deepEqual(
        chain.map(([offset]) => offset),
        expected,
      );
      assert.equal(tail, expected.at(-1));
      chain.slice(1).forEach(([, before], i) => void assert.equal(before, expected[i]));
      assert.ok((chain[0]?.[1] ?? 0) < one);
    }
    assert.deepEqual(await desk.replay('case/*', two, 2), { chain: [[three, two], [five, three]], tail: five }); // biome-ignore format: pairs
  },

  async 'a history has so many, and none that is too old, and the gap shows'(desk) {
    const offsets = await desk.publish(Array(5).fill('a'), { size: 3, ageMs: 5_000 });
    const { chain } = await desk.replay('a', offsets[0] as number, 0);
    assert.deepEqual(
      chain,
      [2, 3, 4].map((i) => [offsets[i], offsets[i - 1]]),
    );
    desk.pass(6_000);
    const late = await desk.replay('a', offsets[0] as number, 0);
    assert.deepEqual(late, { chain: [], tail: offsets[4] });
  },
};

function revisions(desk: NewsDesk, ...keys: string[]): Promise<(number | false)[]> {
  return Promise.all(keys.map((key) => desk.revisionOf(key)));
}
