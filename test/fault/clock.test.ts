import { beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, holder, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { createFakeClock, type FakeClock } from '../support/fake-clock.js';
import { startRedis } from '../support/redis.js';
import { startServer, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Issue 3.8: clocks jump by hours, either way.

const ENV = { STAFETT_MAX_TTL: '3s' };
const HOURS = 3_600;

let namespace: string;
let clock: FakeClock;
let servers: [TestServer, TestServer];

const hasFakeClock = createFakeClock() !== undefined;
if (!hasFakeClock) console.warn('jumps of clocks are not tested: that needs Debian’s packages faketime and libtcmalloc-minimal4');

async function client(server: TestServer): Promise<Stafett> {
  return connectClient(server, { namespace, ttl: '3s' });
}

describe.skipIf(!hasFakeClock)('the clock of the Redis host', () => {
  beforeEach(async () => {
    namespace = freshNamespace();
    clock = createFakeClock() as FakeClock;
    const redis = await startRedis({ kind: 'private', env: clock.env });
    servers = [await startServer({ redis, env: ENV }), await startServer({ redis, env: ENV })];
  });

  test.each([
    ['ahead by two hours', 2 * HOURS],
    ['back by two hours', -2 * HOURS],
    ['ahead by three seconds', 3],
  ])('jumps %s: no lock is granted twice, no token goes back, no session is lost', async (_, seconds) => {
    const [one, two] = [await client(servers[0]), await client(servers[1])];
    const lock = await one.locks.acquire('a');
    const order: string[] = [];
    const first = two.locks.run('a', () => void order.push('first'));
    await queued(one, 'a', 1);
    const second = one.locks.run('a', () => void order.push('second'));
    await queued(one, 'a', 2);
    clock.set(seconds);
    await eventually('a new epoch', () =>
      servers.some((server) => server.logs().some(({ msg }) => msg.startsWith('the clock of Redis was set'))),
    );
    await eventually('the lock to be known again', async () => (await holder(two, 'a')).fencingToken === lock.fencingToken);
    const next = await two.locks.acquire('b');
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    lock.assertHeld();
    expect(order).toEqual([]);
    await lock.release();
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
    expect([one.session.state, two.session.state]).toEqual(['CONNECTED', 'CONNECTED']);
  });
});

describe.skipIf(!hasFakeClock)('the clock of a server’s host', () => {
  test('jumps, and nothing happens', async () => {
    namespace = freshNamespace();
    clock = createFakeClock() as FakeClock;
    const redis = await startRedis();
    const server = await startServer({ redis, env: { ...ENV, ...clock.env } });
    const one = await client(server);
    const lock = await one.locks.acquire('a');
    const states: string[] = [];
    one.session.onStateChange((state) => states.push(state));
    for (const seconds of [2 * HOURS, -2 * HOURS, 0]) {
      clock.set(seconds);
      const before = one.session.remainingMs();
      await eventually('a keepalive', () => one.session.remainingMs() > before);
      await one.locks.run('b', () => {});
    }
    lock.assertHeld();
    expect(states).toEqual([]);
    expect(server.logs().filter(({ msg }) => /epoch/.test(msg))).toEqual([]);
  });
});
