import { describe, expect, test } from 'vitest';
import type { Told } from '../chaos/events.js';
import { findBehind, findGaps, findSettingsThatWentBack } from '../chaos/news-checker.js';

const subscription = 'news/all';

/** Numbers are offsets, so each publication is told apart by it. */
const published = (offset: number, epoch = 'e'): Told => ({ kind: 'published', client: 'p', at: offset, number: offset, epoch, offset });
const heard = (offset: number, { epoch = 'e', number = offset } = {}): Told => {
  return { kind: 'heard', client: 's', at: offset, subscription, from: 'p', number, epoch, offset };
};
const begins = (offset: number, epoch = 'e'): Told => {
  return { kind: 'subscribed', client: 's', at: offset, subscription, epoch, offset, recovered: false };
};
const goesOn = (offset: number, epoch = 'e'): Told => ({ ...begins(offset, epoch), recovered: true }) as Told;

/** 3 was lost with its epoch, and so was the answer to 11. */
const CONFIRMED = [published(1), published(2), published(3), published(10, 'f'), published(12, 'f')];
const GOOD = [...CONFIRMED, begins(0), heard(1), goesOn(1), heard(2), begins(9, 'f'), heard(10, { epoch: 'f' }), heard(11, { epoch: 'f' })];

describe('a subscriber', () => {
  test('that has all in order, or is told of the gap, is no violation', () => {
    expect(findGaps(GOOD)).toEqual([]);
    expect(findGaps([...GOOD, heard(12, { epoch: 'f' })])).toEqual([]);
  });

  test.each<[string, Told[], RegExp]>([
    ['missed something', [begins(0), heard(1), heard(3)], /^missing: s .news.all. did not hear 2 of p at 2 of e, but 3/],
    ['missed something while it was away, and is not told', [begins(0), heard(1), goesOn(2), heard(3)], /^missing: .* 2 of p/],
    ['has another publication instead', [begins(0), heard(1), heard(2, { number: 7 })], /^missing: .* 2 of p/],
    ['has something twice', [begins(0), heard(1), goesOn(1), heard(1)], /^out of order: .* 1 of p .* after 1/],
    ['has something too late', [begins(1), heard(3), heard(2)], /^out of order: .* 2 of p .* after 3/],
    ['has the same under two offsets', [begins(3), heard(4), heard(5, { number: 4 })], /^published twice: 4 of p/],
    ['goes on in another epoch as if nothing were lost', [begins(0), heard(1), heard(2), goesOn(9, 'f')], /^gap not told/],
    ['hears of another epoch', [begins(0), heard(1), heard(2), heard(10, { epoch: 'f' })], /^gap not told/],
    ['is told at the beginning that it missed nothing', [goesOn(0)], /^gap not told: .* begins with subscribed/],
    ['is told of a gap where none can be', [begins(0), heard(1), heard(2), begins(2)], /^gap told for nothing/],
  ])('that %s, is found', (_, view, violation) => {
    expect(findGaps([...CONFIRMED, ...view])).toContainEqual(expect.stringMatching(violation));
  });
});

describe('a setting', () => {
  const read = (at: number, value: number): Told => ({ kind: 'read', client: 's', by: 'watch', of: 'p', at, value });

  test('that grows, or stays, is in order', () => {
    expect(findSettingsThatWentBack([read(1, 1), read(2, 3), read(3, 3)], [])).toEqual([]);
  });

  test('that goes back, or away, is found', () => {
    expect(findSettingsThatWentBack([read(1, 3), read(2, 2)], [])).toEqual([expect.stringMatching(/^setting went back: s .* was 3 at 1/)]);
    expect(findSettingsThatWentBack([read(1, 3), read(2, 0)], [{ from: 4, to: 5 }])).toHaveLength(1);
  });

  test('may be lost with Redis and a server', () => {
    expect(findSettingsThatWentBack([read(1, 3), read(3, 0)], [{ from: 2, to: 4 }])).toEqual([]);
  });
});

describe('who is behind', () => {
  const SINCE = 5;
  const set: Told = { kind: 'set', client: 's', at: 4, value: 3 };
  const read = (by: 'watch' | 'define', value: number): Told => ({ kind: 'read', client: 's', by, of: 's', at: 6, value });
  const hears = (what: string, number: number): Told => {
    return { kind: 'heard', client: 's', at: 9, subscription: what, from: 's', number, epoch: 'e', offset: number };
  };
  const ALL = [set, read('watch', 3), read('define', 3), hears('news/all', 6), hears('news/*', 6)];
  const behind = (events: Told[], losses: { from: number; to: number }[] = []) => findBehind(events, ['s'], SINCE, losses);

  test('is nobody, when all have heard of all, and know what was set', () => {
    expect(behind(ALL)).toEqual([]);
  });

  test.each<[string, Told[], string]>([
    ['has heard nothing', ALL.filter((event) => event !== ALL[3]), 's (news/all) news of s heard nothing'],
    ['has heard only what is old', [...ALL.slice(0, 3), hears('news/all', 4), hears('news/*', 6)], 's (news/all) news of s heard nothing'],
    ['knows an old setting', [...ALL, read('watch', 2)], 's (watch) setting of s is 2, not 3'],
    ['knows nothing of a setting', ALL.filter((event) => event !== ALL[2]), 's (define) setting of s is undefined, not 3'],
  ])('is who %s', (_, events, expected) => {
    expect(behind(events)).toEqual([expected]);
  });

  test('is not who lacks what was lost with Redis and a server', () => {
    expect(behind([...ALL, read('watch', 0)], [{ from: 4, to: 5 }])).toEqual([]);
  });
});
