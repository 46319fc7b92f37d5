import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WaitingRoom } from '../../clients/typescript/src/waiting-room.js';

let now: number;

beforeEach(() => {
  now = 1_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});

afterEach(() => vi.restoreAllMocks());

const unreachable = () => new Error('nobody there');
const forever = (askedAt: number) => ({ askedAt, waitUntil: Number.POSITIVE_INFINITY });

/** Tells how a promise stands. */
function watched(promise: Promise<unknown>) {
  const seen = { state: 'waits' };
  promise.then(
    () => (seen.state = 'connected'),
    (error: Error) => (seen.state = error.message),
  );
  return seen;
}

async function sweepAt(room: WaitingRoom, at: number): Promise<void> {
  now = at;
  room.sweep();
  await Promise.resolve();
  await Promise.resolve();
}

describe('those who wait for a connection', () => {
  test('go on when there is one', async () => {
    const room = new WaitingRoom(Number.POSITIVE_INFINITY, unreachable);
    const waits = room.enter(forever(now));
    room.open();
    await waits;
  });

  test('with a timeout of their own give up 5 s after it', async () => {
    const room = new WaitingRoom(10, unreachable);
    const seen = watched(room.enter({ askedAt: now, waitUntil: now + 2_000 }));
    await sweepAt(room, 7_999);
    expect(seen.state).toBe('waits');
    await sweepAt(room, 8_000);
    expect(seen.state).toBe('nobody there');
  });

  test('without one stay as long as the offline timeout allows, counted from the loss of the connection', async () => {
    const room = new WaitingRoom(500, unreachable);
    room.open();
    now = 60_000;
    room.close();
    const seen = watched(room.enter(forever(1_000)));
    await sweepAt(room, 60_499);
    expect(seen.state).toBe('waits');
    await sweepAt(room, 60_500);
    expect(seen.state).toBe('nobody there');
  });

  test('who came later stays as long', async () => {
    const room = new WaitingRoom(500, unreachable);
    now = 60_000;
    const seen = watched(room.enter(forever(now)));
    await sweepAt(room, 60_499);
    expect(seen.state).toBe('waits');
    await sweepAt(room, 60_500);
    expect(seen.state).toBe('nobody there');
  });

  test('without any timeout stay for ever', async () => {
    const room = new WaitingRoom(Number.POSITIVE_INFINITY, unreachable);
    const seen = watched(room.enter(forever(now)));
    await sweepAt(room, 1e12);
    expect(seen.state).toBe('waits');
  });

  test('give up at an abort, also one before', async () => {
    const room = new WaitingRoom(500, unreachable);
    const controller = new AbortController();
    const waits = room.enter(forever(now), controller.signal);
    controller.abort(new Error('enough'));
    await expect(waits).rejects.toThrow('enough');
    await expect(room.enter(forever(now), controller.signal)).rejects.toThrow('enough');
  });

  test('are sent away by a close', async () => {
    const room = new WaitingRoom(500, unreachable);
    const waits = room.enter(5_000);
    room.empty(new Error('closed'));
    await expect(waits).rejects.toThrow('closed');
  });
});
