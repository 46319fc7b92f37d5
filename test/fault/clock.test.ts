import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../clients/typescript/src/index.js';
import type { ChaosEvent } from '../chaos/events.js';
import { Register } from '../chaos/register.js';
import { type ClientSettings, NAMES } from '../chaos/settings.js';
import { onCleanup } from '../support/cleanup.js';
import { connectClient, holder, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { createFakeClock, type FakeClock } from '../support/fake-clock.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { compiledProgram } from '../support/program.js';
import { startRedis } from '../support/redis.js';
import { startServer, type TestServer } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Issue 3.8: clocks jump by hours, either way, and drift.

const ENV = { STAFETT_MAX_TTL: '3s' };
const HOURS = 3_600;
/** Of a clock that drifts: much more than any quartz does. */
const [FAST, SLOW] = [1.05, 0.95];
/** A keepalive each 5 s: a clock that nobody followed meanwhile would look as one that was set. */
const CALM_TTL_MS = 15_000;
const CALM_ENV = { STAFETT_MAX_TTL: `${CALM_TTL_MS}ms` };
const CALM_MS = 11_000;
const CHAOS_CLIENT = fileURLToPath(new URL('../chaos/client.ts', import.meta.url));

let namespace: string;
let clock: FakeClock;
let servers: [TestServer, TestServer];

const hasFakeClock = createFakeClock() !== undefined;
if (!hasFakeClock) console.warn('clocks that jump or drift are not tested: that needs Debian’s packages faketime and libtcmalloc-minimal4');

/** Of new epochs and clocks that were set. */
function toldOfClocks(servers: readonly TestServer[]): string[] {
  return servers.flatMap((server) => server.logs().flatMap(({ msg }) => (/epoch|clock/.test(msg) ? [msg] : [])));
}

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

describe.skipIf(!hasFakeClock)('clocks of two Redis hosts, one that runs fast and one that runs slow,', () => {
  test('are followed, also while nobody asks anything: no new epoch, no session lost, no lock granted twice', {
    timeout: 120_000,
  }, async () => {
    await Promise.all([FAST, SLOW].map(expectToBeFollowed)); // at once: each waits most of its time
  });

  async function expectToBeFollowed(rate: number): Promise<void> {
    const namespace = freshNamespace();
    const redis = await startRedis({ kind: 'private', env: (createFakeClock({ rate }) as FakeClock).env });
    const servers = [await startServer({ redis, env: CALM_ENV }), await startServer({ redis, env: CALM_ENV })] as const;
    const connectTo = (server: TestServer) => connectClient(server, { namespace, ttl: CALM_TTL_MS });
    const clients = [await connectTo(servers[0]), await connectTo(servers[1])] as const;
    const states: string[] = [];
    for (const { session } of clients) session.onStateChange((state) => states.push(state));
    const lock = await clients[0].locks.acquire('a');
    await sleep(CALM_MS);
    lock.assertHeld();
    let inside = 0;
    const turns = Array.from({ length: 20 }, (_, i) =>
      (clients[i % 2] as Stafett).locks.run('a', async () => {
        expect(++inside).toBe(1);
        await sleep(5);
        inside--;
      }),
    );
    await queued(clients[0], 'a', turns.length);
    expect(inside).toBe(0);
    await lock.release();
    await Promise.all(turns);
    expect({ rate, states, told: toldOfClocks(servers) }).toEqual({ rate, states: [], told: [] });
  }
});

/** How transactions of two who nest their locks end without any fault. */
const AS_EVER: readonly (string | undefined)[] = [undefined, 'CONTENDED', 'DEADLOCK'];

interface DriftingClient {
  readonly process: TestProcess;
  done(): (string | undefined)[];
}

function startClient(server: TestServer, rate: number, storePort: number): DriftingClient {
  const { env } = createFakeClock({ rate, monotonic: true }) as FakeClock;
  const common = { seed: 1, lanes: 3, workMsMax: 20, stallMsMax: 5, fencing: true, deadline: true, news: false };
  const settings: ClientSettings = { ...common, name: `x${rate}`, addresses: [server.address], namespace, storePort, ttlMs: 3_000 };
  const process_ = startProcess(process.execPath, [compiledProgram(CHAOS_CLIENT), JSON.stringify(settings)], { ...plainEnv(), ...env });
  onCleanup(() => process_.kill());
  const events = () => (process_.stdout().match(/^\{.*\}$/gm) ?? []).map((line) => JSON.parse(line) as ChaosEvent);
  return { process: process_, done: () => events().flatMap((event) => (event.kind === 'done' ? [event.reason] : [])) };
}

describe.skipIf(!hasFakeClock)('clocks of hosts of servers and clients that run fast and slow', () => {
  test('do not matter, though their monotonic clocks do so, too', { timeout: 120_000 }, async () => {
    namespace = freshNamespace();
    const [redis, store] = [await startRedis(), await startRedis({ kind: 'private' })];
    const start = (rate: number) =>
      startServer({ redis, env: { ...CALM_ENV, ...(createFakeClock({ rate, monotonic: true }) as FakeClock).env } });
    servers = [await start(FAST), await start(SLOW)];
    const idle = await connectClient(servers[0], { namespace, ttl: CALM_TTL_MS });
    const lock = await idle.locks.acquire('idle');
    const clients = [startClient(servers[0], SLOW, store.port), startClient(servers[1], FAST, store.port)];
    await eventually('both to work', () => clients.every(({ done }) => done().length > 0), { timeoutMs: 60_000 });
    await sleep(CALM_MS);
    for (const { process, done } of clients) {
      await process.kill();
      expect(done().length).toBeGreaterThan(20);
      expect(done().filter((reason) => !AS_EVER.includes(reason))).toEqual([]);
    }
    const registers = NAMES.flatMap((name) => [`fenced:${name}`, `plain:${name}`]).map((key) => new Register(store.client(), key));
    expect(await Promise.all(registers.map((register) => register.lostUpdates()))).toEqual(registers.map(() => 0));
    lock.assertHeld();
    expect((await holder(idle, 'idle')).fencingToken).toBe(lock.fencingToken);
    expect(toldOfClocks(servers)).toEqual([]);
  });
});
