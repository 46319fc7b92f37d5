import { describe, expect, test } from 'vitest';
import { EndReason, type PastHolder, type WaitForUnlockResponse } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import { UnlockNews } from '../../clients/typescript/src/unlock-news.js';

/** The holder whose release was the unlock of that number. */
function past(token: number): PastHolder {
  return {
    sessionId: 's',
    owner: undefined,
    purpose: '',
    fencingToken: BigInt(token),
    acquireTime: undefined,
    endTime: undefined,
    endReason: EndReason.RELEASED,
  };
}

function snapshot(name: string, unlockCount: number, history: number[] = []): WaitForUnlockResponse {
  const lock = { name, holder: undefined, waiterCount: 0, waiters: [], history: history.map(past) };
  return { event: { $case: 'snapshot', value: { lock, unlockCount: BigInt(unlockCount) } } };
}

function unlock(name: string, unlockCount: number, missed = 0): WaitForUnlockResponse {
  const value = { name, unlockCount: BigInt(unlockCount), previous: past(unlockCount), next: undefined, missed: BigInt(missed) };
  return { event: { $case: 'unlocked', value } };
}

/** `state 3`, `unlocked 4 by 4`, with `(2 missed)` if so. */
function told(news: UnlockNews, ...responses: WaitForUnlockResponse[]): string[] {
  return responses
    .flatMap((response) => [...news.of(response)])
    .map((event) => {
      if (event.type === 'state') return `${event.name} state ${event.unlockCount}`;
      const missed = event.missed > 0n ? ` (${event.missed} missed)` : '';
      return `${event.name} unlocked ${event.unlockCount} by ${event.previous?.fencingToken}${missed}`;
    });
}

describe('news of unlocks', () => {
  test('the state of each name, then its unlocks', () => {
    const news = new UnlockNews();
    expect(told(news, snapshot('a', 3), snapshot('b', 0), unlock('a', 4), unlock('b', 1))).toEqual([
      'a state 3',
      'b state 0',
      'a unlocked 4 by 4',
      'b unlocked 1 by 1',
    ]);
  });

  test('another connection tells nothing twice', () => {
    const news = new UnlockNews();
    told(news, snapshot('a', 3), unlock('a', 4));
    expect(told(news, snapshot('a', 4, [4, 3]), unlock('a', 4), unlock('a', 5))).toEqual(['a unlocked 5 by 5']);
  });

  test('what happened in between is told from the history', () => {
    const news = new UnlockNews();
    told(news, snapshot('a', 3));
    expect(told(news, snapshot('a', 6, [6, 5, 4, 3, 2]))).toEqual(['a unlocked 4 by 4', 'a unlocked 5 by 5', 'a unlocked 6 by 6']);
  });

  test('what the history does not reach back to is missed, and that is told', () => {
    const news = new UnlockNews();
    told(news, snapshot('a', 3));
    expect(told(news, snapshot('a', 20, [20, 19]))).toEqual(['a unlocked 19 by 19 (15 missed)', 'a unlocked 20 by 20']);
    expect(told(news, snapshot('a', 23))).toEqual(['a unlocked 23 by undefined (2 missed)']);
    expect(told(news, unlock('a', 30, 6))).toEqual(['a unlocked 30 by 30 (6 missed)']);
  });

  test('servers that have forgotten the name begin anew', () => {
    const news = new UnlockNews();
    told(news, snapshot('a', 30));
    expect(told(news, snapshot('a', 1, [1]), unlock('a', 2))).toEqual(['a state 1', 'a unlocked 2 by 2']);
  });
});
