import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { SessionState } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { httpGet } from '../support/server-checks.js';
import { startStack, type TestServer } from '../support/stack.js';
import type { StubClient } from '../support/stub-client.js';
import type { StubError } from '../support/stub-error.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

// Issue 3.4: Redis cannot be reached, and callers keep coming. Each is refused in time, and memory is bounded.

const TTL_MS = 4_000;
const NAMESPACES = 10;
/** Of each namespace, at once: five times as many in all as may wait. */
const [ACQUIRES, OTHERS] = [100, 20];
const PENDING_MAX = 200;
/** Longer than the server waits for Redis, after the time that it takes to notice that a half-open connection is dead. */
const AWAY_MS = { 'is cut off': 8_000, 'does not answer': 13_000 };
const REFUSED_IN_MS = 15_000;
const GROWTH_BYTES_MAX = 150e6;
const [RESOURCE_EXHAUSTED, UNAVAILABLE] = [8, 14];
const PURPOSE = 'x'.repeat(200);

function memoryOf({ pid }: TestServer): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Those who ask again and again, as soon as they have an answer. */
class Callers {
  readonly refusals: StubError[] = [];
  slowestMs = 0;
  #done = false;
  readonly #lanes: Promise<void>[] = [];

  constructor(clients: readonly StubClient[]) {
    for (const client of clients) {
      const pipeline = client.pipeline();
      for (let i = 0; i < ACQUIRES; i++) this.#add((n) => pipeline.lock(`${i}/${n}`, { ttlMs: 20_000, purpose: PURPOSE }));
      for (let i = 0; i < OTHERS; i++) this.#add(() => (i % 2 ? client.getLock(PURPOSE) : client.acquire(`u/${i}`, { ttlMs: 20_000 })));
    }
  }

  async end(): Promise<void> {
    this.#done = true;
    await Promise.all(this.#lanes);
  }

  #add(ask: (n: number) => Promise<unknown>): void {
    this.#lanes.push(this.#lane(ask));
  }

  async #lane(ask: (n: number) => Promise<unknown>): Promise<void> {
    for (let n = 0; !this.#done; n++) {
      const askedAt = performance.now();
      await ask(n).catch((error) => this.refusals.push(error));
      this.slowestMs = Math.max(this.slowestMs, performance.now() - askedAt);
      await sleep(50);
    }
  }
}

test.each(['is cut off', 'does not answer'] as const)(
  'while Redis %s, all who ask are refused in time, and memory is bounded',
  { timeout: 120_000 },
  async (how) => {
    const stack = await startStack();
    const proxy = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
    const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}`, STAFETT_MAX_PENDING_ACQUIRES: `${PENDING_MAX}` };
    const server = await stack.addServer({ env });
    const clients = Array.from({ length: NAMESPACES }, () => connectStub(server, freshNamespace()));
    await Promise.all(clients.map((client) => client.lock('before', { ttlMs: 1_000 })));
    if (how === 'is cut off') {
      proxy.refuse();
      proxy.cut();
    } else {
      proxy.pause();
    }
    const before = memoryOf(server);
    const callers = new Callers(clients);
    await sleep(AWAY_MS[how]);
    const grownBy = memoryOf(server) - before;
    const { refusals } = callers;
    console.log(
      `fault: Redis ${how}: ${refusals.length} refused, the slowest after ${Math.round(callers.slowestMs)} ms; ${Math.round(grownBy / 1e6)} MB more`,
    );
    expect(grownBy).toBeLessThan(GROWTH_BYTES_MAX);
    expect(refusals.length).toBeGreaterThan(NAMESPACES * ACQUIRES);
    for (const code of [RESOURCE_EXHAUSTED, UNAVAILABLE]) expect(refusals.filter((each) => each.code === code).length).toBeGreaterThan(0);
    const others = refusals.filter((each) => ![RESOURCE_EXHAUSTED, UNAVAILABLE].includes(each.code) || !(Number(each.retryDelayMs) > 0));
    expect(others.map(String)).toEqual([]);
    if (how === 'is cut off') await proxy.accept();
    else proxy.resume();
    await callers.end();
    expect(callers.slowestMs).toBeLessThan(REFUSED_IN_MS);
    const goesOn = (client: StubClient) =>
      eventually('it to go on', () => client.lock('after', { ttlMs: 1_000 }).catch(() => false), { timeoutMs: 20_000 });
    await Promise.all(clients.map(goesOn));
  },
);

test('a session that outlives its deadline meanwhile is SUSPENDED, then LOST; the server stays, and the next one goes on', async () => {
  const stack = await startStack();
  const proxy = await startTcpProxy({ host: stack.redis.host, port: stack.redis.port });
  const server = await stack.addServer({ env: { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } });
  const client = await connectClient(server, { ttl: TTL_MS });
  const states: SessionState[] = [];
  client.session.onStateChange((state) => states.push(state));
  const lock = await client.locks.acquire('a');
  proxy.refuse();
  proxy.cut();
  const since = performance.now();
  const waits = client.locks.acquire('b');
  await eventually('the lock to be lost', () => lock.signal.aborted, { timeoutMs: TTL_MS });
  expect(performance.now() - since).toBeLessThan(TTL_MS); // and so before anybody else could have it
  expect(() => lock.assertHeld()).toThrow(expect.objectContaining({ reason: 'LOCK_LOST' }));
  expect(states).toEqual(['SUSPENDED', 'LOST']);
  const { status, body } = await httpGet(server, '/readyz');
  expect([status, JSON.parse(body)]).toEqual([503, { ready: false, reasons: ['Redis cannot be reached'] }]);
  await proxy.accept();
  expect((await waits).fencingToken).toBeGreaterThan(lock.fencingToken);
  expect(client.session.state).toBe('CONNECTED');
});
