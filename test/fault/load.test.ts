import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Lock, Stafett } from '../../clients/typescript/src/index.js';
import { onCleanup } from '../support/cleanup.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import type { LoadReport, LoadSettings } from '../support/load-client.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { compiledProgram } from '../support/program.js';
import { httpGet } from '../support/server-checks.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { connectStub, freshNamespace } from '../support/stub-stack.js';

// Issue 3.10: more sessions and waiting acquires than a server has room for. What is too much is refused, memory is bounded, who holds
// something keeps it, and the queues drain in their order. `STAFETT_LOAD=full` for the figures of docs/reliability.md.

const FULL = process.env.STAFETT_LOAD === 'full';
const SESSIONS = FULL ? 10_000 : 2_000;
const PENDING_MAX = FULL ? 100_000 : 20_000;
/** A tenth is too much. */
const WAITS = PENDING_MAX + PENDING_MAX / 10;
const NAMES = Array.from({ length: 100 }, (_, i) => `name/${i}`);
const HOLDERS = 10;
const TTL_MS = 30_000;
const TIMEOUT_MS = FULL ? 600_000 : 120_000;
const PROBE_MS = 100;
/** What a server takes without any load, and for each session or waiting acquire, at the most. */
const BASE_BYTES = 250e6;
const EACH_BYTES = 8_000;
const PROGRAM = fileURLToPath(new URL('../support/load-client.ts', import.meta.url));

let stack: TestStack;
let namespace: string;

/** Who was there before, and holds all names. */
async function startHolders(): Promise<{ clients: Stafett[]; locks: Lock[]; states: string[] }> {
  const states: string[] = [];
  const clients = await Promise.all(
    Array.from({ length: HOLDERS }, async () => {
      const client = await connectClient(stack.server, { namespace, ttl: TTL_MS });
      client.session.onStateChange((state) => states.push(state));
      return client;
    }),
  );
  const locks = await Promise.all(NAMES.map((name, i) => (clients[i % HOLDERS] as Stafett).locks.acquire(name)));
  return { clients, locks, states };
}

/** Sends a keepalive all the time, and tells how long each took, ms. */
async function probeKeepAlives(): Promise<number[]> {
  const session = await connectStub(stack.server, namespace).openSession({ ttlMs: TTL_MS });
  const took: number[] = [];
  const probe = setInterval(async () => {
    const sentAt = performance.now();
    const response = await session.streams[0]?.send(session.id).catch(() => undefined);
    took.push(response?.states[0]?.alive ? performance.now() - sentAt : Number.POSITIVE_INFINITY);
  }, PROBE_MS);
  onCleanup(() => clearInterval(probe));
  return took;
}

function startLoad(): TestProcess {
  const common = { port: stack.server.grpcPort, namespace, names: NAMES, ttlMs: TTL_MS };
  const settings: LoadSettings = { ...common, connections: 4, sessions: SESSIONS, waits: WAITS };
  const load = startProcess(process.execPath, [compiledProgram(PROGRAM), JSON.stringify(settings)], plainEnv());
  onCleanup(() => load.kill());
  return load;
}

async function metric({ server }: TestStack, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec((await httpGet(server, '/metrics')).body)?.[1]);
}

async function memoryOf({ server, redis }: TestStack): Promise<{ server: number; redis: number }> {
  const redisBytes = /^used_memory_peak:(\d+)/m.exec(await redis.client().info('memory'))?.[1];
  return { server: peakBytes(server), redis: Number(redisBytes) };
}

function peakBytes({ pid }: TestServer): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

test('ten thousands of waiting acquires: what is too much is refused, holders and order are kept, memory is bounded', {
  timeout: TIMEOUT_MS,
}, async () => {
  stack = await startStack({ env: { STAFETT_MAX_PENDING_ACQUIRES: String(PENDING_MAX) } });
  namespace = freshNamespace();
  const { clients, locks, states } = await startHolders();
  const keepAlives = await probeKeepAlives();
  const load = startLoad();
  const wait = { timeoutMs: TIMEOUT_MS, intervalMs: 50 };
  await eventually('the sessions to be open', () => load.stdout().includes('opened') || load.ended, wait);
  const since = performance.now();
  await eventually('the queues to be full', async () => load.ended || (await metric(stack, 'stafett_lock_waiters')) === PENDING_MAX, wait);
  const queuedMs = performance.now() - since;
  const memory = await memoryOf(stack);
  for (const lock of locks) lock.assertHeld();
  expect(states).toEqual([]);
  await Promise.all(locks.map((lock) => lock.release()));
  const drainedSince = performance.now();
  await load.exited;
  const drainedMs = performance.now() - drainedSince;
  const report = JSON.parse(load.stdout().split('\n').at(-2) ?? '{}') as LoadReport;
  console.log(show({ queuedMs, drainedMs, keepAlives, memory, report }));
  expect(load.stderr()).toBe('');
  expect(report).toMatchObject({ granted: PENDING_MAX, refused: { SERVER_FULL: WAITS - PENDING_MAX }, overtakings: 0, lostSessions: 0 });
  expect(Math.max(...keepAlives)).toBeLessThan(TTL_MS / 3);
  expect(memory.server).toBeLessThan(BASE_BYTES + EACH_BYTES * (WAITS + SESSIONS));
  expect(await metric(stack, 'stafett_pending_acquires')).toBe(0);
  await Promise.all(clients.map((client, i) => client.locks.run(NAMES[i] as string, () => {}))); // and everything goes on
});

interface Figures {
  readonly queuedMs: number;
  readonly drainedMs: number;
  readonly keepAlives: readonly number[];
  readonly memory: { server: number; redis: number };
  readonly report: LoadReport;
}

function show({ queuedMs, drainedMs, keepAlives, memory, report }: Figures): string {
  const sorted = keepAlives.toSorted((a, b) => a - b).map(Math.round);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
  return [
    `load: ${SESSIONS} sessions, ${WAITS} acquires: ${PENDING_MAX} queued in ${Math.round(queuedMs)} ms, served in ${Math.round(drainedMs)} ms`,
    `load: refused ${JSON.stringify(report.refused)}, overtakings ${report.overtakings}, lost sessions ${report.lostSessions}`,
    `load: keepalives of a holder p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${sorted.at(-1)} ms; of 50 sessions at once max ${Math.round(report.keepAliveMsMax)} ms`,
    `load: peak memory of the server ${mb(memory.server)}, of Redis ${mb(memory.redis)}`,
  ].join('\n');
}
