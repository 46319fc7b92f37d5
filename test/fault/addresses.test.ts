import { beforeEach, expect, test } from 'vitest';
import type { SessionState, Stafett } from '../../clients/typescript/src/index.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { startRedis } from '../support/redis.js';
import { startServer, type TestServer } from '../support/stack.js';

// Issue 3.1: the client takes a list of addresses, and names that stand for several; it prefers the first, and moves on when that fails.

const TTL_MS = 3_000;
const HOSTS = ['127.0.0.1', '127.0.0.2'];

let servers: TestServer[];
let port: number;
let client: Stafett;
let states: SessionState[];

/** One name, two addresses, the same port: as behind a headless service of Kubernetes. */
beforeEach(async () => {
  const redis = await startRedis();
  port = await freePort();
  servers = await Promise.all(
    HOSTS.map((host) =>
      startServer({ redis, grpcPort: port, env: { STAFETT_GRPC_ADDRESS: `${host}:${port}`, STAFETT_MAX_TTL: `${TTL_MS}ms` } }),
    ),
  );
  client = await connectClient({ address: `stafett.example:${port}` }, { ttl: TTL_MS, lookup: async () => HOSTS });
  states = [];
  client.session.onStateChange((state) => states.push(state));
});

test.each<[string, (server: TestServer) => unknown]>([
  ['is killed', (server) => server.kill()],
  ['is stopped', (server) => server.stop()],
  ['is frozen, and takes connections but answers none', (server) => server.pause()],
])('the first of the servers behind a name %s: the client goes on at the next', async (_, strike) => {
  const { id } = client.session;
  const lock = await client.locks.acquire('a');
  const since = performance.now();
  void strike(servers[0] as TestServer);
  await eventually('the client to have moved', () => states.includes('CONNECTED'), { timeoutMs: TTL_MS });
  console.log(`fault: another server of the same name after ${Math.round(performance.now() - since)} ms`);
  await client.locks.run('b', () => {});
  expect(client.session.id).toBe(id);
  lock.assertHeld();
  await lock.release();
});
