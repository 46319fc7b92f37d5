import { describe, expect, test } from 'vitest';
import type { Told } from '../chaos/events.js';
import type { Observation } from '../chaos/observer.js';
import { findOverlapsInRedisTime, findOvertakings } from '../chaos/order.js';

const granted = (session: string, id: string, at: number, token: number): Told => {
  return { kind: 'granted', client: 'c', id, at, session, tokens: { a: String(token) } };
};

function seen(from: number, queue: string[], past: Observation['past'] = []): Observation {
  return { from, to: from + 1, name: 'a', queue, past };
}

describe('who stood behind another', () => {
  const queue = [seen(10, ['s/x', 't/y'])];

  test('and was served after it, is in order', () => {
    expect(findOvertakings(queue, [granted('s', 'x', 20, 1), granted('t', 'y', 30, 2)], [])).toEqual([]);
  });

  test.each<[string, Observation[]]>([
    ['was served before it', queue],
    ['with somebody between them who was served never', [seen(10, ['s/x', 'u/z', 't/y'])]],
  ])('and %s, has overtaken it', (_, observations) => {
    const found = findOvertakings(observations, [granted('t', 'y', 20, 1), granted('s', 'x', 30, 2)], []);
    expect(found).toEqual([expect.stringMatching(/^overtaken: t.y .* before s.x/)]);
  });

  test.each<[string, Told[]]>([
    ['is nested', [granted('t', 'yn', 20, 1), granted('s', 'x', 30, 2)]],
    ['has asked anew in another session', [granted('v', 'y', 20, 1), granted('s', 'x', 30, 2)]],
  ])('may be served before it if it %s', (_, events) => {
    expect(findOvertakings([seen(10, ['s/x', 't/y', 't/yn'])], events, [])).toEqual([]);
  });

  test('is forgotten with everything else when Redis forgets', () => {
    const era = [{ from: 15, to: 16 }];
    expect(findOvertakings(queue, [granted('t', 'y', 20, 1), granted('s', 'x', 30, 2)], era)).toEqual([]);
  });
});

describe('grants of one name', () => {
  const hold = (token: number, since: number, until: number) => ({ token: BigInt(token), since, until });

  test('one after the other are in order', () => {
    expect(findOverlapsInRedisTime([seen(10, [], [hold(2, 5, 9), hold(1, 1, 5)])], [])).toEqual([]);
  });

  test('at the same time are found', () => {
    const observations = [seen(10, [], [hold(2, 4, 9), hold(1, 1, 5)])];
    expect(findOverlapsInRedisTime(observations, [])).toEqual([expect.stringMatching(/^overlap in Redis' time: a with token 1/)]);
    expect(findOverlapsInRedisTime(observations, [{ from: 0, to: 10 }])).toEqual([]); // its clock was set
  });
});
