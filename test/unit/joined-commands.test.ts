import { expect, test } from 'vitest';
import type { AcquireCommand, Command } from '../../server/src/engine/commands.js';
import { joinCommands, splitResults } from '../../server/src/engine/joined-commands.js';

const acquire = (requestId: string, changed: Partial<Record<number, unknown>> = {}): Command => {
  const plain: unknown[] = ['acquire', 's', requestId, [`lock-${requestId}`], 1, 'owner', false, 0, 0, 7];
  for (const [at, value] of Object.entries(changed)) plain[Number(at)] = value;
  return plain as AcquireCommand;
};

test('what follows each other and is alike goes as one', () => {
  const commands: Command[] = [
    acquire('a'),
    acquire('b'),
    ['release', 's.x'],
    ['release', 's.y'],
    ['drain'],
    ['release', 's.z'],
    ['release', 't.z'],
    ['acquires', 's', 1, 'owner', 7, 'd', 'lock-d', 'e', 'lock-e'],
    ['releases', 's', 'd', 'e'],
    acquire('c'),
  ];
  expect(joinCommands(commands)).toEqual([
    ['acquires', 's', 1, 'owner', 7, 'a', 'lock-a', 'b', 'lock-b'],
    ['releases', 's', 'x', 'y'],
    ['drain'],
    ['releases', 's', 'z'],
    ['releases', 't', 'z'],
    ['acquires', 's', 1, 'owner', 7, 'd', 'lock-d', 'e', 'lock-e'],
    ['releases', 's', 'd', 'e'],
    ['acquires', 's', 1, 'owner', 7, 'c', 'lock-c'],
  ]);
  const notHeld = ['not_held', 's.z', [], 2];
  const joined = [
    [900, 11, ['queued', 12, 500]],
    [30, 'lock-x', ['released']],
    ['drained'],
    [notHeld],
    [5, 'lock-z'],
    [900, 13, ['contended', []]],
    [7, 'lock-d', notHeld],
    [900, ['gone']],
  ];
  expect(splitResults(commands, joined, 500)).toEqual([
    ['granted', 11, 500, 900, 0],
    ['queued', 12, 500],
    ['released', 30, 'lock-x'],
    ['released'],
    ['drained'],
    notHeld,
    ['released', 5, 'lock-z'],
    { now: 500, deadline: 900, each: [13, ['contended', []]] },
    [7, 'lock-d', notHeld],
    ['gone'],
  ]);
});

test.each([
  ['another session', { 1: 't' }],
  ['another wait', { 4: 0 }],
  ['another owner', { 5: 'other' }],
  ['another connection', { 9: 8 }],
])('%s begins anew', (_, changed) => {
  expect(joinCommands([acquire('a'), acquire('b', changed)])).toHaveLength(2);
});

test.each([
  ['two names', { 3: ['m', 'n'] }],
  ['nested', { 6: ['s.outer'] }],
  ['a lease', { 7: 1_000 }],
  ['with its place in the queue', { 8: 12 }],
])('an acquire that is not plain goes as it is: %s', (_, changed) => {
  const special = acquire('b', changed);
  const commands = [acquire('a'), special, acquire('c')];
  expect(joinCommands(commands)[1]).toEqual(special);
  expect(
    splitResults(
      commands,
      [
        [900, 1],
        ['granted', 2, 400, 900, 1_000],
        [900, 3],
      ],
      500,
    )[1],
  ).toEqual(['granted', 2, 400, 900, 1_000]);
});
