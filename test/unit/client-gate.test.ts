import { expect, test } from 'vitest';
import { Gate } from '../../clients/typescript/src/gate.js';

const forever = new AbortController().signal;
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Asks to come in, and notes when it does. */
function comer(gate: Gate, name: string, seen: string[], signal = forever) {
  const entered = gate.enter(signal);
  entered.then(
    () => seen.push(name),
    (error: Error) => seen.push(`${name}: ${error.message}`),
  );
  return entered;
}

test('lets so many in, and then one for each that goes, in order', async () => {
  const gate = new Gate(2);
  const seen: string[] = [];
  const [a, b] = [comer(gate, 'a', seen), comer(gate, 'b', seen), comer(gate, 'c', seen), comer(gate, 'd', seen)];
  await settle();
  expect(seen).toEqual(['a', 'b']);
  const leaveA = await a;
  leaveA();
  await settle();
  expect(seen).toEqual(['a', 'b', 'c']);
  leaveA(); // once is once
  await settle();
  expect(seen).toEqual(['a', 'b', 'c']);
  (await b)();
  await settle();
  expect(seen).toEqual(['a', 'b', 'c', 'd']);
});

test('those who give up are not waited for', async () => {
  const gate = new Gate(1);
  const seen: string[] = [];
  const impatient = new AbortController();
  const a = comer(gate, 'a', seen);
  comer(gate, 'b', seen, impatient.signal).catch(() => {});
  void comer(gate, 'c', seen);
  impatient.abort(new Error('gave up'));
  await settle();
  expect(seen).toEqual(['a', 'b: gave up']);
  await expect(gate.enter(impatient.signal)).rejects.toThrow('gave up');
  (await a)();
  await settle();
  expect(seen).toEqual(['a', 'b: gave up', 'c']);
});

test('who has come in is not thrown out', async () => {
  const gate = new Gate(1);
  const seen: string[] = [];
  const [first, second] = [new AbortController(), new AbortController()];
  const a = comer(gate, 'a', seen, first.signal);
  const b = comer(gate, 'b', seen, second.signal);
  (await a)();
  second.abort(new Error('too late'));
  const leaveB = await b;
  void comer(gate, 'c', seen);
  await settle();
  expect(seen).toEqual(['a', 'b']);
  leaveB();
  await settle();
  expect(seen).toEqual(['a', 'b', 'c']);
});
