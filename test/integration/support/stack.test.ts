import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { isAlive } from '../../support/server-checks.js';
import { startServer, startStack } from '../../support/stack.js';

test('a stack is a server on a Redis of its own, and more servers', async () => {
  const { redis, server, addServer } = await startStack();
  const other = await addServer({ env: { STAFETT_LOG_LEVEL: 'debug' } });
  for (const { httpAddress } of [server, other]) {
    const ready = await fetch(`http://${httpAddress}/readyz`);
    expect(ready.status).toBe(200);
  }
  expect(server.logs().find(({ msg }) => msg === 'ready')?.redis).toContain(String(redis.port));
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await other.kill()).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a server starts again at the address that it had', async () => {
  const { redis, server } = await startStack();
  const { address, grpcPort, httpPort } = server;
  await server.kill();
  const again = await startServer({ redis, grpcPort, httpPort });
  expect(again.address).toBe(address);
});

test('a server that cannot start says why', async () => {
  await expect(startServer({ env: { STAFETT_MAX_TTL: 'long' } })).rejects.toThrow('STAFETT_MAX_TTL');
});

test('what a test process started ends with it, even when that is killed', async () => {
  const starter = fork(fileURLToPath(new URL('./start-and-wait.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] });
  const [pid] = (await once(starter, 'message')) as [number];
  expect(isAlive(pid)).toBe(true);
  starter.kill('SIGKILL');
  await eventually('it to be gone', () => !isAlive(pid));
});
