import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Status } from 'nice-grpc-common';
import { describe, expect, it } from 'vitest';
import { AcquireRequest, AcquireResponse, WaitForUnlockRequest } from '../../server/src/gen/stafett/v1/lock.js';
import { findBinary } from '../../server/src/redis/find-binary.js';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess } from '../support/process.js';
import { RawClient } from '../support/raw-client.js';
import { httpGet, isAlive, redisPidOf, redisUrlOf, SERVER_MAIN } from '../support/server-checks.js';
import { startServer, type TestServer } from '../support/stack.js';

const ACQUIRE = '/stafett.v1.LockService/Acquire';
const NAMES = { names: ['customer/42'] };

async function start(env: Record<string, string> = {}): Promise<{ server: TestServer; client: RawClient; redisPid: number }> {
  const server = await startServer({ env });
  const client = new RawClient(server.grpcPort);
  onCleanup(() => client.close());
  return { server, client, redisPid: redisPidOf(server) as number };
}

function acquire(waitSeconds?: number): Uint8Array {
  const ttl = { seconds: 20n, nanos: 0 };
  const wait = waitSeconds === undefined ? {} : { waitTimeout: { seconds: BigInt(waitSeconds), nanos: 0 } };
  return AcquireRequest.encode(AcquireRequest.fromPartial({ ...NAMES, ttl, ...wait })).finish();
}

/** Asks as somebody who does not wait. */
async function somebodyWaits(client: RawClient): Promise<boolean> {
  const { outcome } = AcquireResponse.decode((await client.unary(ACQUIRE, acquire())).response ?? Buffer.of());
  return outcome?.$case === 'contention' && outcome.value.queueLength > 0;
}

/** A `redis-server` for the PATH that starts only while the gate is open. */
function gatedRedis(): { path: string; close: () => void; open: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'gated-'));
  onCleanup(() => rmSync(dir, { recursive: true, force: true }));
  const gate = join(dir, 'closed');
  const script = join(dir, 'redis-server');
  writeFileSync(script, `#!/bin/sh\nwhile [ -e '${gate}' ]; do sleep 0.02; done\nexec '${findBinary()}' "$@"\n`);
  chmodSync(script, 0o755);
  const open = () => rmSync(gate, { force: true });
  onCleanup(open);
  return { path: `${dir}:${process.env.PATH}`, close: () => writeFileSync(gate, ''), open };
}

describe('a server that starts', () => {
  it('tells people what to try', async () => {
    const env = plainEnv({ STAFETT_GRPC_ADDRESS: '127.0.0.1:0', STAFETT_HTTP_ADDRESS: '127.0.0.1:0', STAFETT_LOG_LEVEL: 'silent' });
    const server = startProcess(process.execPath, [SERVER_MAIN], env);
    onCleanup(() => server.kill());
    await eventually('the welcome', () => /http:\/\/127\.0\.0\.1:[1-9]\d*\/stafett\.v1\.LockService\/Acquire/.test(server.stdout()));
    expect(server.stderr()).toBe('');
  });

  it('serves the pages for operators', async () => {
    const { server } = await start();
    expect(await httpGet(server, '/healthz')).toEqual({ status: 200, body: '{"status":"ok"}' });
    expect(await httpGet(server, '/readyz')).toEqual({ status: 200, body: '{"ready":true,"reasons":[]}' });
    expect((await httpGet(server, '/nope')).status).toBe(404);
    expect((await httpGet(server, '/')).body).toContain('/metrics');
    const metrics = (await httpGet(server, '/metrics')).body;
    for (const name of ['stafett_redis_ready', 'process_cpu_seconds_total', 'grpc_server_handled_total']) expect(metrics).toContain(name);
  });

  it('keeps its Redis private', async () => {
    const { server, redisPid } = await start();
    const socket = redisUrlOf(server).replace('unix://', '');
    expect(existsSync(socket)).toBe(true);
    expect(isAlive(redisPid)).toBe(true);
    await server.stop();
    expect(existsSync(dirname(socket))).toBe(false);
  });
});

describe('a server whose Redis dies', () => {
  it('says so, refuses, starts another and goes on', async () => {
    const redis = gatedRedis();
    const { server, client, redisPid } = await start({ PATH: redis.path });
    const health: number[] = [];
    void client.serverStream('/grpc.health.v1.Health/Watch', Buffer.of(), (response) => health.push(response[1] ?? 0));
    await eventually('SERVING', () => health.at(-1) === 1);
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });

    redis.close();
    process.kill(redisPid, 'SIGKILL');
    await eventually('readyz to be 503', async () => (await httpGet(server, '/readyz')).status === 503);
    expect((await httpGet(server, '/readyz')).body).toBe('{"ready":false,"reasons":["Redis cannot be reached"]}');
    expect((await httpGet(server, '/healthz')).status).toBe(200);
    expect((await httpGet(server, '/metrics')).body).toContain('stafett_redis_ready{connection="commands"} 0');
    await eventually('NOT_SERVING', () => health.at(-1) === 2);

    redis.open();
    await eventually('readyz to be 200', async () => (await httpGet(server, '/readyz')).status === 200);
    await eventually('SERVING', () => health.at(-1) === 1);
    expect(redisPidOf(server)).not.toBe(redisPid);
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'GRACE_PERIOD' } });
    expect((await httpGet(server, '/metrics')).body).toContain('stafett_redis_reconnects_total{connection="commands"} 1');
    expect(server.logs().some(({ level, msg }) => level === 50 && msg.includes('ended unexpectedly'))).toBe(true);
  });
});

describe('a server that is told to stop', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('by %s ends with 0 and takes its Redis along', async (signal) => {
    const { server, redisPid } = await start();
    server.process.kill(signal);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(isAlive(redisPid)).toBe(false);
  });

  it('does not wait for idle watchers', async () => {
    const { server, client } = await start({ STAFETT_DRAIN_TIMEOUT: '10m' });
    const request = WaitForUnlockRequest.encode(WaitForUnlockRequest.fromPartial(NAMES)).finish();
    let begun = false;
    const ended = client.serverStream('/stafett.v1.LockService/WaitForUnlock', request, () => {
      begun = true;
    });
    const health = client.serverStream('/grpc.health.v1.Health/Watch', Buffer.of(), () => {});
    await eventually('the snapshot', () => begun);
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await ended).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    expect(await health).toMatchObject({ code: Status.UNAVAILABLE });
  });

  it('tells those who still wait for a lock at the drain timeout', async () => {
    const { server, client } = await start({ STAFETT_DRAIN_TIMEOUT: '300ms' });
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });
    const waiter = client.unary(ACQUIRE, acquire(60));
    await eventually('the waiter', () => somebodyWaits(client));
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(await waiter).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
  });

  it('lets calls go on until the drain timeout, though connections are pinged meanwhile', async () => {
    const { server, client } = await start({ STAFETT_DRAIN_TIMEOUT: '7s' }); // longer than it takes to the next ping
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });
    const waiter = client.unary(ACQUIRE, acquire(60));
    await eventually('the waiter', () => somebodyWaits(client));
    const toldAt = performance.now();
    const stopped = server.stop();
    expect(await waiter).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    expect(performance.now() - toldAt).toBeGreaterThan(6_900);
    expect(await stopped).toEqual({ code: 0, signal: null });
  });

  it('refuses new calls while others go on, and ends as soon as those have', async () => {
    const { server, client } = await start({ STAFETT_DRAIN_TIMEOUT: '10m' });
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });
    const waiter = client.unary(ACQUIRE, acquire(2));
    await eventually('the waiter', () => somebodyWaits(client));
    const stopped = server.stop();
    await eventually('it to begin', () => server.logs().some(({ msg }) => msg === 'stopping'));
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: Status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    expect(await waiter).toMatchObject({ code: 0 }); // it was not granted in time
    expect(await stopped).toEqual({ code: 0, signal: null });
  });

  it('leaves no waiter behind in a Redis that lives on', async () => {
    const { server: other, client: otherClient } = await start();
    const { server, client } = await start({ REDIS_URL: redisUrlOf(other), STAFETT_REDIS_IS_NEW: 'true', STAFETT_DRAIN_TIMEOUT: '300ms' });
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });
    const waiter = client.unary(ACQUIRE, acquire(60));
    await eventually('the waiter', () => somebodyWaits(otherClient));
    await server.stop();
    await waiter;
    await eventually('nobody to wait', async () => !(await somebodyWaits(otherClient)), { timeoutMs: 5_000 });
  });

  it('twice ends at once', async () => {
    const { server, client, redisPid } = await start({ STAFETT_DRAIN_TIMEOUT: '10m' });
    expect(await client.unary(ACQUIRE, acquire())).toMatchObject({ code: 0 });
    void client.unary(ACQUIRE, acquire(60));
    await eventually('the waiter', () => somebodyWaits(client));
    server.process.kill('SIGTERM');
    await eventually('it to begin', () => server.logs().some(({ msg }) => msg === 'stopping'));
    expect((await httpGet(server, '/readyz')).body).toContain('the server is stopping');
    server.process.kill('SIGTERM');
    expect(await server.exited).toEqual({ code: 1, signal: null });
    await eventually('its Redis to end', () => !isAlive(redisPid));
  });
});

describe('a server that is killed', () => {
  it('takes its Redis along, too, and leaves no files', async () => {
    const { server, redisPid } = await start();
    const socket = redisUrlOf(server).replace('unix://', '');
    server.process.kill('SIGKILL');
    await server.exited;
    await eventually('its Redis to end', () => !isAlive(redisPid));
    await eventually('its directory to go', () => !existsSync(dirname(socket)));
  });
});
