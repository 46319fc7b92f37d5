import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EngineHarness } from '../support/engine-harness.js';
import {
  type CheckOptions,
  checkHistory,
  type Granted,
  type HistoryEvent,
  type Problem,
  type Requested,
} from '../support/history-checker.js';
import { Rng, testSeed } from '../support/rng.js';
import { FALSIFIERS } from './falsify.js';
import { nesting, runNesting } from './nesting.js';
import { Recorder } from './recorder.js';

const RUNS = 25;

const asked = (id: string, at: number, names = ['a'], more: Partial<Requested> = {}): HistoryEvent => ({
  kind: 'requested',
  id,
  names,
  at,
  ...more,
});
const given = (id: string, at: number, token: number, names = ['a']): HistoryEvent => ({ kind: 'granted', id, names, token, at });
const ended = (id: string, at: number): HistoryEvent => ({ kind: 'ended', id, at, how: 'RELEASED' });
const left = (id: string, at: number): HistoryEvent => ({ kind: 'left', id, at });

function problemsOf(events: readonly HistoryEvent[], options?: CheckOptions): Problem['kind'][] {
  return checkHistory(events, options).map(({ kind }) => kind);
}

/** Three take turns at one name; the third gives up, the fourth comes late. */
const GOOD = [
  asked('1', 0), given('1', 0, 10), asked('2', 5), asked('3', 6), asked('4', 7), left('3', 20),
  ended('1', 100), given('2', 100, 11), ended('2', 150), given('4', 150, 12), ended('4', 160),
  asked('5', 900), given('5', 900, 900), ended('5', 900),
]; // biome-ignore format: a history

describe('the history checker', () => {
  it('finds nothing wrong with a good history', () => {
    expect(checkHistory(GOOD, { handOffMs: 0 })).toEqual([]);
    expect(checkHistory([])).toEqual([]);
  });

  it('catches an overlap', () => {
    const overlap = [given('1', 0, 1), given('2', 99, 2), ended('1', 100), ended('2', 200)];
    expect(problemsOf(overlap)).toEqual(['overlap']);
    expect(problemsOf([given('1', 0, 1, ['a', 'b']), given('2', 50, 2, ['b', 'c']), ended('1', 100)])).toEqual(['overlap']);
    expect(problemsOf([given('1', 0, 1), given('2', 50, 2)]), 'a grant that never ended').toEqual(['overlap']);
    const within = [given('1', 0, 1), given('2', 10, 2), ended('2', 20), given('3', 30, 3), ended('3', 40), ended('1', 50)];
    expect(problemsOf(within), 'both are within the first').toEqual(['overlap', 'overlap']);
  });

  it('catches a token that went back, or came twice', () => {
    const turns = (...tokens: number[]) => tokens.flatMap((token, i) => [given(`${i}`, 10 * i, token), ended(`${i}`, 10 * i + 5)]);
    expect(problemsOf(turns(1, 2, 3))).toEqual([]);
    expect(problemsOf(turns(1, 3, 2))).toEqual(['token']);
    expect(problemsOf(turns(1, 2, 2))).toEqual(['token']);
    expect(problemsOf([given('1', 0, 2, ['a']), given('2', 10, 1, ['b'])]), 'of another name').toEqual(['token']);
    const large = 1n << 60n;
    const event: Granted = { kind: 'granted', id: '1', names: ['a'], token: large, at: 0 };
    expect(problemsOf([event, { ...event, id: '2', names: ['b'], token: large - 1n, at: 1 }])).toEqual(['token']);
  });

  it('catches an overtaken waiter', () => {
    const holder = [given('0', 0, 1), ended('0', 100)];
    const overtaken = [...holder, asked('1', 10), asked('2', 20), given('2', 100, 2), ended('2', 110), given('1', 110, 3)];
    expect(problemsOf(overtaken)).toEqual(['overtaken']);
    expect(problemsOf([...holder, asked('1', 10), given('2', 100, 2)], { until: 100 }), 'by a new one').toEqual(['overtaken']);
    const wide = [
      ...holder,
      asked('1', 10, ['a', 'b']),
      asked('2', 20, ['b']),
      given('2', 50, 2, ['b']),
      ended('2', 60),
      given('1', 100, 3, ['a', 'b']),
    ];
    expect(problemsOf(wide), 'a wide one, at one of its names').toEqual(['overtaken']);
  });

  it('lets pass who may: a nested one, one that came when nobody can know who was first, one after somebody who left', () => {
    const holder = [given('0', 0, 1), ended('0', 100)];
    const served = [given('2', 100, 2), ended('2', 110), given('1', 110, 3)];
    expect(problemsOf([...holder, asked('1', 10), asked('2', 20, ['a'], { nested: true }), ...served])).toEqual([]);
    expect(problemsOf([...holder, asked('1', 10, ['a'], { queuedBy: 30 }), asked('2', 20), ...served])).toEqual([]);
    expect(problemsOf([...holder, asked('1', 10), left('1', 90), asked('2', 20), given('2', 100, 2)])).toEqual([]);
  });

  it('catches a lost hand-off', () => {
    const lost = [given('0', 0, 1), asked('1', 10), ended('0', 100)];
    expect(problemsOf(lost, { until: 1_000 })).toEqual(['forgotten']);
    expect(problemsOf(lost, { until: 340 }), 'not yet').toEqual([]);
    expect(problemsOf([...lost, given('1', 400, 2)]), 'served, but late').toEqual(['forgotten']);
    expect(problemsOf([...lost, given('1', 400, 2)], { handOffMs: 300 })).toEqual([]);
    expect(problemsOf([...lost, asked('2', 400), given('2', 400, 2), ended('2', 410)], { until: 500 })).toContain('forgotten');
    expect(problemsOf([...lost, asked('2', 50, ['a'], { queuedBy: 60 })], { until: 1_000 })).toEqual(['forgotten']);
  });

  it('catches a lost hand-off of one that waits for several names', () => {
    const wide = [given('0', 0, 1), given('9', 0, 2, ['b']), asked('1', 10, ['a', 'b']), ended('0', 100)];
    expect(problemsOf(wide, { until: 1_000 }), 'one is still held').toEqual([]);
    expect(problemsOf([...wide, ended('9', 200)], { until: 1_000 })).toEqual(['forgotten', 'forgotten']);
    expect(
      problemsOf([...wide, ended('9', 200), asked('2', 5, ['b', 'c']), given('8', 0, 3, ['c'])], { until: 1_000 }),
      'behind another',
    ).toEqual([]);
  });

  it('catches a history that cannot be', () => {
    expect(problemsOf([ended('1', 5)])).toEqual(['malformed', 'malformed']);
    expect(problemsOf([given('1', 5, 1), ended('1', 4)])).toEqual(['malformed']);
    expect(problemsOf([asked('1', 5), given('1', 4, 1)])).toEqual(['malformed']);
    expect(problemsOf([given('1', 4, 1), given('1', 5, 2)])).toContain('malformed');
  });

  it('finds nothing wrong with what the engine does, and catches it when that is falsified', { timeout: 60_000 }, async () => {
    const harness = await EngineHarness.start();
    const caught = { token: 0, overlap: 0, overtaken: 0, forgotten: 0 };
    const history = fc.asyncProperty(nesting, fc.nat(), async (each, seed) => {
      const rng = new Rng(seed);
      const recorder = new Recorder();
      await runNesting(harness, each, recorder.note);
      const { events } = recorder;
      const until = events.at(-1)?.at ?? 0;
      expect(checkHistory(events, { handOffMs: 0 })).toEqual([]);
      for (const kind of ['token', 'overlap', 'overtaken', 'forgotten'] as const) {
        const falsified = FALSIFIERS[kind](events, rng);
        if (!falsified) continue;
        expect(problemsOf(falsified, { handOffMs: 0, until })).toContain(kind);
        caught[kind]++;
      }
    });
    await fc.assert(history, { numRuns: RUNS, seed: testSeed() });
    expect(Math.min(...Object.values(caught)), JSON.stringify(caught)).toBeGreaterThan(RUNS / 4);
  });
});
