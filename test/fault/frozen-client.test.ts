import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, test } from 'vitest';
import { FencedStore, type Stafett } from '../../clients/typescript/src/index.js';
import { onCleanup } from '../support/cleanup.js';
import { connectClient, holder } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess, type TestProcess } from '../support/process.js';
import { compiledProgram } from '../support/program.js';
import { startStack, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// Issue 3.6: a process that is frozen past its TTL cannot know that it lost its lock. When it wakes it learns it before anything else,
// and what it wrote in between would have been refused.

const TTL_MS = 1_500;
const LONG_TTL_MS = 9_000;
const HAND_OFF_MS = 250;
const PROGRAM = fileURLToPath(new URL('../support/frozen-holder.ts', import.meta.url));

let stack: TestStack;
let namespace: string;
let next: Stafett;
let frozen: TestProcess;
let frozenToken: bigint;

beforeEach(async () => {
  stack = await startStack();
  namespace = freshNamespace();
  next = await connectClient(stack.server, { namespace });
});

async function startHolder(ttlMs: number): Promise<void> {
  frozen = startProcess(process.execPath, [compiledProgram(PROGRAM), stack.server.address, namespace, String(ttlMs)], plainEnv());
  onCleanup(() => frozen.kill('SIGKILL'));
  const token = () => /^token (\d+)$/m.exec(frozen.stdout())?.[1] ?? false;
  frozenToken = BigInt((await eventually('the process to hold the lock', token, { timeoutMs: 30_000 })) as string);
}

test('the next in line has the lock at the expiry; the frozen one learns it with its first line, and its token is refused', async () => {
  await startHolder(TTL_MS);
  const { expireTime } = await holder(next, 'name');
  const waits = next.locks.acquire('name');
  frozen.pause();
  const since = performance.now();
  const lock = await waits;
  const late = lock.acquireTime.getTime() - expireTime.getTime(); // both by the clock of Redis; a keepalive may have been on its way
  console.log(`fault: frozen client, lock handed on ${Math.round(performance.now() - since)} ms after the freeze`);
  expect(late).toBeLessThanOrEqual(TTL_MS / 3 + HAND_OFF_MS);
  expect(lock.fencingToken).toBeGreaterThan(frozenToken);
  const store = new FencedStore();
  await store.write('name', lock.fencingToken, () => {});
  frozen.resume();
  await frozen.exited;
  expect(frozen.stdout()).toMatch(/^lost LOCK_LOST aborted true told (LOCK_LOST|not yet)$/m);
  await expect(store.write('name', frozenToken, () => {})).rejects.toMatchObject({ reason: 'STALE_TOKEN' });
  lock.assertHeld();
});

test('one that is frozen for less goes on as if nothing had happened', async () => {
  await startHolder(LONG_TTL_MS);
  for (let i = 0; i < 3; i++) {
    const { expireTime } = await holder(next, 'name');
    frozen.pause();
    await sleep(LONG_TTL_MS / 6);
    frozen.resume();
    await eventually('a keepalive', async () => (await holder(next, 'name')).expireTime > expireTime);
  }
  expect((await holder(next, 'name')).fencingToken).toBe(frozenToken);
  expect(frozen.stdout()).not.toContain('lost');
});
