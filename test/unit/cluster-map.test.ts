import { describe, expect, test } from 'vitest';
import { mergeNodes, parseNodes } from '../../server/src/redis/cluster-map.js';
import { slotOf } from '../../server/src/redis/slots.js';

const ASKED = { host: '10.0.0.9', port: 7000 };
const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const C = 'c'.repeat(40);

test.each([
  ['123456789', 0x31c3],
  ['stafett:{default}:gate', slotOf('default')],
  ['{user1000}.following', slotOf('user1000')],
  ['foo{}{bar}', slotOf('foo{}{bar}')],
  ['foo{{bar}}zap', slotOf('{bar')],
  ['foo{bar}{zap}', slotOf('bar')],
])('the slot of %s', (key, slot) => {
  expect(slotOf(key)).toBe(slot % 16_384);
});

describe('what a node tells of all', () => {
  test('is read, with slots that are being moved, replicas, and nodes of several versions', () => {
    const text = [
      `${A} 10.0.0.1:7001@17001 myself,master - 0 1700000000000 3 connected 0-5460 5470 [93->-${B}] [77-<-${C}]`,
      `${B} 10.0.0.2:7002@17002,b.example.org slave ${A} 0 1700000000000 3 connected`,
      `${C} ::1:7003@17003,,tls-port=0,shard-id=69bc master,fail - 1 2 7 disconnected 5461-5469`,
      '',
    ].join('\r\n');
    expect(parseNodes(text, ASKED, false)).toEqual([
      {
        id: A,
        ip: '10.0.0.1',
        host: '10.0.0.1',
        port: 7001,
        isMaster: true,
        hasFailed: false,
        epoch: 3,
        ranges: [
          [0, 5460],
          [5470, 5470],
        ],
      },
      { id: B, ip: '10.0.0.2', host: '10.0.0.2', port: 7002, isMaster: false, hasFailed: false, epoch: 3, ranges: [] },
      { id: C, ip: '::1', host: '::1', port: 7003, isMaster: true, hasFailed: true, epoch: 7, ranges: [[5461, 5469]] },
    ]);
  });

  test('a node that does not know its own address is where it was asked; others without one are left out', () => {
    const text = `${A} :7000@17000 myself,master - 0 0 1 connected 0-10\n${B} :0@0 master,noaddr - 0 0 2 disconnected\n`;
    expect(parseNodes(text, ASKED, false)).toMatchObject([{ id: A, ...ASKED }]);
  });

  test('over TLS a node is called by the name that it announces', () => {
    const text = `${A} 10.0.0.1:7001@17001,a.example.org master - 0 0 1 connected`;
    expect(parseNodes(text, ASKED, true)).toMatchObject([{ host: 'a.example.org', ip: '10.0.0.1' }]);
    expect(parseNodes(text.replace('a.example.org', ''), ASKED, true)).toMatchObject([{ host: '10.0.0.1' }]);
  });
});

describe('what several nodes tell', () => {
  const old = parseNodes(`${A} h:1@1 myself,master - 0 0 1 connected 0-16383\n${B} h:2@2 slave ${A} 0 0 1 connected`, ASKED, false);
  const fresh = parseNodes(`${B} h:2@2 myself,master - 0 0 2 connected 0-16383\n${A} h:1@1 master,fail - 0 0 1 connected`, ASKED, false);

  test.each([
    ['the old one first', [old, fresh]],
    ['the new one first', [fresh, old]],
  ])('%s: whoever has the higher epoch has the slot', (_, answers) => {
    const { owners, masters, nodes } = mergeNodes(answers);
    expect(new Set(owners.map((owner) => owner?.id))).toEqual(new Set([B]));
    expect(masters.map(({ id }) => id)).toEqual([B]);
    expect(nodes).toMatchObject([{ host: 'h', port: 2 }]);
  });

  test('a master that has failed, and that nobody has replaced, still has its slots', () => {
    const { owners, masters } = mergeNodes([parseNodes(`${A} h:1@1 master,fail - 0 0 1 connected 5\n`, ASKED, false)]);
    expect(owners[5]?.id).toBe(A);
    expect(owners[6]).toBeUndefined();
    expect(masters).toHaveLength(1);
  });

  test('a master without slots could get some', () => {
    const { masters } = mergeNodes([
      parseNodes(`${A} h:1@1 master - 0 0 1 connected 5\n${B} h:2@2 master - 0 0 2 connected`, ASKED, false),
    ]);
    expect(masters).toHaveLength(2);
  });
});
