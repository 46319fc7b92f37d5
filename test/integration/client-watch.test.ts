import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett, WatchEvent } from '../../clients/typescript/src/index.js';
import { connectClient, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

let stack: TestStack;
let server: TestServer;
let proxy: TcpProxy;
let namespace: string;
let client: Stafett;
let other: Stafett;

beforeAll(async () => {
  stack = await startStack();
  ({ server } = stack);
});

beforeEach(async () => {
  namespace = freshNamespace();
  proxy = await startTcpProxy({ port: server.grpcPort });
  client = await connectClient(proxy, { namespace });
  other = await connectClient(server, { namespace, client: 'other' });
});

/** Reads along in the background. */
function follow(names: string | string[], options: Parameters<Stafett['locks']['watch']>[1] = {}) {
  const events: WatchEvent[] = [];
  const read = async () => {
    for await (const event of client.locks.watch(names, options)) events.push(event);
  };
  const ended = read();
  ended.catch(() => {}); // by the close at the end, for those who do not wait
  return { events, ended };
}

async function unlock(name: string, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await other.locks.run(name, () => {});
}

const counts = (events: WatchEvent[]) => events.map(({ type, unlockCount }) => `${type} ${unlockCount}`);

describe('watch', () => {
  test('the state of each name, then every unlock, with who had it and who has it next', async () => {
    const lock = await other.locks.acquire('a', { purpose: 'journal' });
    const { events } = follow(['a', 'b']);
    await eventually('the states', () => events.length === 2);
    expect(events).toMatchObject([
      { type: 'state', name: 'a', unlockCount: 0n, lock: { holder: { purpose: 'journal', client: 'other' } } },
      { type: 'state', name: 'b', unlockCount: 0n, lock: { holder: undefined } },
    ]);
    const next = other.locks.acquire('a', { purpose: 'letter' });
    await queued(other, 'a', 1);
    await lock.release();
    const held = await next;
    await other.locks.forceRelease('a');
    await unlock('b', 1);
    await eventually('the unlocks', () => events.length === 5);
    expect(events.slice(2).filter(({ name }) => name === 'a')).toMatchObject([
      {
        unlockCount: 1n,
        previous: { purpose: 'journal', endReason: 'RELEASED' },
        next: { purpose: 'letter', fencingToken: held.fencingToken },
        missed: 0n,
      },
      { unlockCount: 2n, previous: { purpose: 'letter', endReason: 'FORCED' }, next: undefined, missed: 0n },
    ]);
    await held.release().catch(() => {});
  });

  test('ends at the timeout', async () => {
    const { events, ended } = follow('a', { timeout: 200 });
    await ended;
    expect(counts(events)).toEqual(['state 0']);
  });

  test('an abort throws the reason', async () => {
    const controller = new AbortController();
    const { events, ended } = follow('a', { signal: controller.signal });
    await eventually('the state', () => events.length === 1);
    controller.abort(new Error('enough'));
    await expect(ended).rejects.toThrow('enough');
  });

  test('leaving the loop ends it at the server', async () => {
    for await (const event of client.locks.watch('a')) {
      expect(event.type).toBe('state');
      break;
    }
    expect(client.session.state).toBe('CONNECTED');
  });

  test('what the server refuses is an error with its reason', async () => {
    await expect(client.locks.watch([]).next()).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
  });

  test('a close ends it', async () => {
    const { events, ended } = follow('a');
    const refused = expect(ended).rejects.toMatchObject({ reason: 'CLOSED' });
    await eventually('the state', () => events.length === 1);
    await client.close();
    await refused;
  });
});

describe('a watch whose connection breaks', () => {
  test('goes on without a gap and without telling anything twice', async () => {
    const { events } = follow('a');
    await eventually('the state', () => events.length === 1);
    await unlock('a', 2);
    await eventually('the first', () => events.at(-1)?.unlockCount === 2n);
    proxy.refuse();
    proxy.cut();
    await eventually('the loss to be noticed', () => client.session.state === 'SUSPENDED');
    await unlock('a', 3);
    await proxy.accept();
    await eventually('what happened meanwhile', () => events.at(-1)?.unlockCount === 5n);
    await unlock('a', 1);
    await eventually('the next', () => events.at(-1)?.unlockCount === 6n);
    const unlocked = events.filter((event) => event.type === 'unlocked');
    expect(unlocked.map(({ unlockCount, missed, previous }) => [unlockCount, missed, previous?.client])).toEqual(
      [1n, 2n, 3n, 4n, 5n, 6n].map((count) => [count, 0n, 'other']),
    );
  });

  test('for longer than the history reaches tells how many it missed', async () => {
    const { events } = follow('a');
    await eventually('the state', () => events.length === 1);
    await unlock('a', 1);
    await eventually('the first', () => events.at(-1)?.unlockCount === 1n);
    proxy.refuse();
    proxy.cut();
    await eventually('the loss to be noticed', () => client.session.state === 'SUSPENDED');
    await unlock('a', 15);
    await proxy.accept();
    await eventually('what happened meanwhile', () => events.at(-1)?.unlockCount === 16n);
    const told = events.filter((event) => event.type === 'unlocked').slice(1);
    expect(told).toHaveLength(10);
    expect(told[0]).toMatchObject({ unlockCount: 7n, missed: 5n });
  });

  test('because its server stops goes on at another', async () => {
    const first = await startServer({ redis: stack.redis });
    proxy.refuse();
    client = await connectClient([first, proxy], { namespace });
    const { events } = follow('a');
    await eventually('the state', () => events.length === 1);
    await proxy.accept();
    await first.stop();
    await unlock('a', 1);
    await eventually('the unlock', () => events.length === 2);
    expect(counts(events)).toEqual(['state 0', 'unlocked 1']);
  });
});
