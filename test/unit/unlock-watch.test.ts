import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LockView, PastView } from '../../server/src/engine/commands.js';
import { EndReason } from '../../server/src/gen/stafett/v1/lock.js';
import { UnlockWatch } from '../../server/src/locks/unlock-watch.js';

let now = 0;
let watch: UnlockWatch;

beforeEach(() => {
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  watch = new UnlockWatch(['a', 'b']);
});

afterEach(() => {
  vi.restoreAllMocks();
});

const past = (count: number): PastView => ['session', '', '', count, 0, 0, EndReason.RELEASED];

function state(name: string, count: number, askedAt: number, depth = count): void {
  watch.onState(
    [name, false, 0, count] satisfies LockView,
    Array.from({ length: Math.min(depth, count) }, (_, i) => past(count - i)),
    askedAt,
  );
}

const unlock = (name: string, count: number): boolean => watch.onUnlock(name, { count, past: past(count), next: false });

/** What was told, as `name count` or, of a snapshot, `name =count`, with what was missed. */
async function told(): Promise<string[]> {
  watch.end();
  const lines: string[] = [];
  for await (const { event } of watch.events()) {
    if (event?.$case === 'snapshot') lines.push(`${event.value.lock?.name} =${event.value.unlockCount}`);
    if (event?.$case === 'unlocked') lines.push(`${event.value.name} ${event.value.unlockCount} missed ${event.value.missed}`);
  }
  return lines;
}

describe('a watch tells', () => {
  test('unlocks that overtake the snapshot after it, and none twice', async () => {
    unlock('a', 3);
    unlock('a', 4);
    state('a', 3, now);
    expect(await told()).toEqual(['a =3', 'a 4 missed 0']);
  });

  test('nothing again when a state arrives that is older than the last unlock', async () => {
    state('a', 1, now);
    now = 10;
    unlock('a', 2);
    state('a', 1, 5); // asked before the unlock, answered after it
    unlock('a', 2);
    expect(await told()).toEqual(['a =1', 'a 2 missed 0']);
  });

  test('a new snapshot when the count began anew, for Redis lost its data', async () => {
    state('a', 7, now);
    state('a', 1, now + 1);
    unlock('a', 2);
    expect(await told()).toEqual(['a =7', 'a =1', 'a 2 missed 0']);
  });

  test('what it did not hear from the history, and how many that does not reach', async () => {
    state('a', 1, now);
    expect(unlock('a', 6)).toBe(false);
    state('a', 6, now + 1, 3);
    expect(await told()).toEqual(['a =1', 'a 4 missed 2', 'a 5 missed 0', 'a 6 missed 0']);
  });

  test('the state, also if its time was over before that came', async () => {
    watch.end();
    state('a', 1, now);
    expect(await told()).toEqual(['a =1']);
  });

  test('a reader that is too slow that it is cut off, and nothing behind what was dropped', async () => {
    state('a', 0, now);
    const events = watch.events()[Symbol.asyncIterator]();
    await events.next(); // the snapshot: what follows waits while it is read
    for (let count = 1; count <= 10_001; count++) unlock('a', count);
    const counts: bigint[] = [];
    const read = async () => {
      for (let next = await events.next(); !next.done; next = await events.next()) {
        if (next.value.event?.$case === 'unlocked') counts.push(next.value.event.value.unlockCount);
        if (counts.length === 1) unlock('a', 10_002);
      }
    };
    await expect(read()).rejects.toThrow('a reader that does not read');
    expect(counts).toEqual(Array.from({ length: 10_000 }, (_, i) => BigInt(i + 1)));
  });
});
