import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Command } from '../../server/src/engine/commands.js';
import { EngineHarness, type HarnessLimits } from '../support/engine-harness.js';

// The settings' part of the engine alone: what it remembers of changes, and where that ends.

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

let harness: EngineHarness;

beforeAll(async () => {
  harness = await EngineHarness.start();
});

beforeEach(() => harness.reset(START_US));

interface More {
  readonly ifRevision?: number;
  readonly since?: number;
  readonly request?: string;
}

let requests = 0;

function change(key: string, value: string | false, { ifRevision = -1, since = -1, request = `r${requests++}` }: More = {}): Command {
  return ['setting_change', EPOCH, key, value, ifRevision, since, 'author', request, 100_000, 8_388_608];
}

async function run(...commands: Command[]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (let i = 0; i < commands.length; i += 500) {
    results.push(...(await harness.call('server-1', commands.slice(i, i + 500), LIMITS)).results);
  }
  return results;
}

async function revisionOf(command: Command): Promise<number> {
  const [result] = (await run(command)) as [['changed', number]];
  expect(result[0]).toBe('changed');
  return result[1];
}

describe('a request', () => {
  test('is known for 10,000 changes, and as long as its setting is as it was set', async () => {
    const first = await revisionOf(change('a', '1', { request: 'x' }));
    await revisionOf(change('b', '1', { request: 'y' }));
    await run(change('a', '2'));
    await run(...Array.from({ length: 9_997 }, (_, i) => change('c', `${i}`)));
    expect(await run(change('a', '1', { request: 'x' }))).toEqual([['changed', first, -1, START_US / 1_000]]);
    await run(change('c', 'one more'));
    expect(await revisionOf(change('a', '1', { request: 'x' }))).toBeGreaterThan(first);
    expect(await revisionOf(change('b', '1', { request: 'y' }))).toBe(first + 1);
  });

  test('of one key says nothing of another', async () => {
    const first = await revisionOf(change('a', '1', { request: 'x' }));
    expect(await revisionOf(change('b', '1', { request: 'x' }))).toBeGreaterThan(first);
  });
});

describe('what was not to be changed since', () => {
  test('is told, and nothing is changed', async () => {
    const first = await revisionOf(change('a', '1'));
    const second = await revisionOf(change('a', '2'));
    expect(await run(change('a', '3', { since: first }), change('a', false, { since: first }))).toEqual([
      ['mismatch', second, second],
      ['mismatch', second, second],
    ]);
    expect(await run(['setting_get', EPOCH, 'a'])).toEqual([['setting', [second, '2', ...Array(3).fill(expect.anything())]]]);
    expect(await revisionOf(change('a', '3', { since: second }))).toBeGreaterThan(second);
  });

  test('deletions count, also those that are forgotten', async () => {
    const seen = await revisionOf(change('a', '1'));
    const deleted = await revisionOf(change('a', false));
    expect(await run(change('a', '2', { since: seen, ifRevision: 0 }))).toEqual([['mismatch', 0, deleted]]);
    expect(await run(change('a', false, { since: seen }))).toEqual([['absent']]);
    await run(...Array.from({ length: 1_000 }, (_, i) => [change(`${i}`, '1'), change(`${i}`, false)]).flat());
    expect(await run(change('a', '2', { since: seen }))).toEqual([['mismatch', 0, deleted]]);
    expect(await revisionOf(change('a', '2', { since: deleted }))).toBeGreaterThan(deleted);
  });
});
