import { expect, test } from 'vitest';
import { type Asked, fold } from '../../clients/typescript/src/folding.js';

const life = { id: 's' };
const LONG = { seconds: 86_400n, nanos: 0 };

function acquire(number: number, request: number | string, changed: object = {}, sent = 1): Asked {
  const plain = { names: [`lock-${number}`], sessionId: 's', requestId: String(request), waitTimeout: LONG, owner: undefined, purpose: '' };
  return { number, sent, life, command: { $case: 'acquire', value: { ...plain, ttl: undefined, heldLockIds: [], ...changed } } };
}

const release = (number: number, lockId: string, of = life): Asked => ({
  number,
  sent: 1,
  life: of,
  command: { $case: 'release', value: { lockId } },
});

/** The case of each command, and how many it stands for. */
function shapes(asked: readonly Asked[]): string[] {
  return fold(asked).map(({ id, command }) => {
    if (command?.$case === 'acquireRun') return `${id}: ${command.value.names.length} acquires`;
    if (command?.$case === 'releaseRun') return `${id}: ${command.value.offsets.length} releases`;
    return `${id}: ${command?.$case}`;
  });
}

test('what follows each other and is alike goes as one', () => {
  const asked = [acquire(7, 1), acquire(8, 2), release(9, 's.40'), release(10, 's.12'), release(11, 's.41'), acquire(12, 3)];
  expect(fold(asked)).toEqual([
    {
      id: 7n,
      command: {
        $case: 'acquireRun',
        value: { names: ['lock-7', 'lock-8'], sessionId: 's', firstRequest: 1n, waitTimeout: LONG, owner: undefined, purpose: '' },
      },
    },
    { id: 9n, command: { $case: 'releaseRun', value: { sessionId: 's', firstRequest: 12n, offsets: [28, 0, 29] } } },
    { id: 12n, command: asked[5]?.command },
  ]);
});

test.each([
  ['a number was passed over', [acquire(1, 1), acquire(3, 2)]],
  ['a request was passed over', [acquire(1, 1), acquire(2, 3)]],
  ['a request id is no number', [acquire(1, 'a'), acquire(2, 'b')]],
  ['several names', [acquire(1, 1), acquire(2, 2, { names: ['a', 'b'] })]],
  ['nested', [acquire(1, 1), acquire(2, 2, { heldLockIds: ['s.9'] })]],
  ['another purpose', [acquire(1, 1), acquire(2, 2, { purpose: 'journal' })]],
  ['another owner', [acquire(1, 1), acquire(2, 2, { owner: { host: '', thread: 't', client: '', traceId: '' } })]],
  ['another wait', [acquire(1, 1), acquire(2, 2, { waitTimeout: { seconds: 86_400n, nanos: 1 } })]],
  ['no wait', [acquire(1, 1), acquire(2, 2, { waitTimeout: undefined })]],
  ['asked before', [acquire(1, 1), acquire(2, 2, {}, 2)]],
  ['the first was asked before', [acquire(1, 1, {}, 2), acquire(2, 2)]],
  ['of another session', [release(1, 's.1'), release(2, 't.2', { id: 't' })]],
  ['a release under a number that was passed over', [release(1, 's.1'), release(3, 's.2')]],
  ['a release of what no number stands for', [release(1, 's.a'), release(2, 's.b')]],
  ['a release of what was acquired too long ago', [release(1, 's.1'), release(2, `s.${2 ** 40}`)]],
])('what does not belong into a run goes alone: %s', (_, asked) => {
  expect(fold(asked).map(({ command }) => command)).toEqual(asked.map(({ command }) => command));
});

test('an equal wait need not be the same object', () => {
  expect(shapes([acquire(1, 1), acquire(2, 2, { waitTimeout: { ...LONG } }), acquire(3, 3)])).toEqual(['1: 3 acquires']);
});

test('nothing comes of nothing', () => {
  expect(fold([])).toEqual([]);
});
