import { setTimeout as sleep } from 'node:timers/promises';
import { createServer } from 'nice-grpc';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { InstanceServiceDefinition } from '../../server/src/gen/stafett/v1/instance.js';
import { ForwardedCall } from '../../server/src/instances/forwarded-call.js';
import { type Peer, Peers, type PeersOptions } from '../../server/src/instances/peers.js';
import { onCleanup } from '../support/cleanup.js';

const PLAN = { instanceId: 'a', name: 'a', params: '{}', timeoutMs: undefined, readOnly: false };
const IDLE_MS = 250;
const PING_AFTER_MS = 50;

/** A server that answers a chunk whenever it is told to, and what another one knows of it. */
async function startPeer() {
  let goOn = () => {};
  const unused = () => Promise.reject(new Error('is not asked'));
  const server = createServer();
  server.add(InstanceServiceDefinition, {
    async *forwardCall() {
      for (let i = 1; ; i++) {
        yield { event: { $case: 'chunk', value: Buffer.of(i) } };
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
      }
    },
    ...{ getInstance: unused, listInstances: unused, serveInstance: unused, watchInstances: unused, callInstance: unused },
  } as never);
  const port = await server.listen('127.0.0.1:0');
  onCleanup(() => server.forceShutdown());
  const published = { address: `127.0.0.1:${port}`, secret: 's' as string };
  const redis: { found: string | null } = { found: JSON.stringify(published) };
  const masters = { at: () => ({ ready: true, command: () => Promise.resolve(redis.found) }), onChange: () => () => {} };
  const peers = new Peers({
    serverId: 'own',
    logger: pino({ enabled: false }),
    idleMs: IDLE_MS,
    pingAfterMs: PING_AFTER_MS,
    masters: masters as never,
  } as PeersOptions);
  onCleanup(() => peers.close());
  return { peers, redis, goOn: () => goOn() };
}

test('a call outlives the time after which unused connections are closed, and the record of its server', async () => {
  const { peers, redis, goOn } = await startPeer();
  const peer = (await peers.find('other')) as Peer;
  const events = new ForwardedCall(peer, 'default', PLAN).events();
  const next = async () => (await events.next()).value;
  expect(await next()).toMatchObject({ event: { value: Buffer.of(1) } });
  await sleep(2 * IDLE_MS);
  peers.renew();
  expect(await peers.find('other')).toBe(peer);
  const found = redis.found;
  redis.found = null;
  expect(await peers.find('other')).toBeUndefined();
  await sleep(4 * PING_AFTER_MS); // a connection that was closed breaks at its next ping
  goOn();
  expect(await next()).toMatchObject({ event: { value: Buffer.of(2) } });
  redis.found = found;
  expect(await peers.find('other')).not.toBe(peer);
  await events.return();
});

test('a connection is closed when no call has gone over it for so long', async () => {
  const { peers } = await startPeer();
  const peer = (await peers.find('other')) as Peer;
  const events = new ForwardedCall(peer, 'default', PLAN).events();
  await events.next();
  await events.return();
  peers.renew();
  expect(await peers.find('other')).toBe(peer);
  await sleep(2 * IDLE_MS);
  peers.renew();
  expect(await peers.find('other')).not.toBe(peer);
});
