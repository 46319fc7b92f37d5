import { fileURLToPath } from 'node:url';
import { it } from 'vitest';
import { AcquireRequest, GetLockRequest, GetLockResponse } from '../../server/src/gen/stafett/v1/lock.js';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess } from '../support/process.js';
import { RawClient } from '../support/raw-client.js';
import { startServer } from '../support/stack.js';

const NAME = 'customer/42';
const CLIENT = fileURLToPath(new URL('../support/waiting-client.mjs', import.meta.url));

function acquire(waitSeconds: bigint): Buffer {
  const ttl = { seconds: 30n, nanos: 0 };
  const request = AcquireRequest.fromPartial({ names: [NAME], ttl, waitTimeout: { seconds: waitSeconds, nanos: 0 } });
  return Buffer.from(AcquireRequest.encode(request).finish());
}

it('a client that is silent on an open connection leaves the queue within 15 s', async () => {
  const server = await startServer();
  const client = new RawClient(server.grpcPort);
  onCleanup(() => client.close());
  const waiters = async () => {
    const { response } = await client.unary('/stafett.v1.LockService/GetLock', GetLockRequest.encode({ name: NAME }).finish());
    return GetLockResponse.decode(response ?? Buffer.of()).lock?.waiterCount;
  };
  await client.unary('/stafett.v1.LockService/Acquire', acquire(0n));
  const frozen = startProcess(process.execPath, [CLIENT, String(server.grpcPort), acquire(600n).toString('base64')], plainEnv());
  onCleanup(() => frozen.kill());
  await eventually('it to wait', async () => (await waiters()) === 1);
  frozen.pause();
  await eventually('it to have left', async () => (await waiters()) === 0, { timeoutMs: 15_000, intervalMs: 100 });
});
