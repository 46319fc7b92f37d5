import { expect, test } from 'vitest';
import { findViolations } from '../chaos/checker.js';
import type { Told } from '../chaos/events.js';

const granted = (client: string, id: string, at: number, token: number, name = 'a'): Told => {
  return { kind: 'granted', client, id, at, session: 's', tokens: { [name]: String(token) } };
};
const held = (client: string, id: string, at: number): Told => ({ kind: 'held', client, id, at });
const done = (client: string, id: string, at: number, reason?: string): Told => ({
  kind: 'done',
  client,
  id,
  at,
  ...(reason && { reason }),
});

/** One after the other, by two clients, and at the same time on another name. */
const GOOD: Told[] = [
  granted('one', 'x', 10, 5),
  held('one', 'x', 20),
  done('one', 'x', 30),
  granted('two', 'y', 21, 6), // the release was on its way
  granted('one', 'z', 25, 4, 'b'),
  held('one', 'z', 45),
  held('two', 'y', 40),
  done('two', 'y', 50),
];

test('nothing is found where nothing happened', () => {
  expect(findViolations(GOOD)).toEqual([]);
});

test.each<[string, Told[], RegExp]>([
  ['two holders at once', [...GOOD, granted('three', 'w', 39, 7)], /^overlap: two .y. had a .* and three .w. had a/],
  ['a holder within the time of another', [...GOOD, granted('three', 'w', 22, 7), held('three', 'w', 23)], /^overlap/],
  ['two tasks of one client at once', [granted('one', 'x', 1, 1), held('one', 'x', 9), granted('one', 'y', 5, 2)], /^overlap/],
  ['a token that went back', [...GOOD, granted('three', 'w', 60, 5)], /^token went back: two .y./],
  ['a token that came twice', [...GOOD, granted('three', 'w', 60, 6)], /^token went back/],
  ['a defect', [...GOOD, done('three', 'w', 60, 'TypeError: x is not a function')], /^unexpected error of three in w/],
])('%s is found', (_, events, violation) => {
  expect(findViolations(events)).toEqual([expect.stringMatching(violation)]);
});

test('what a client may be told while servers fail is no violation', () => {
  expect(findViolations([...GOOD, done('three', 'w', 60, 'LOCK_LOST')])).toEqual([]);
});
