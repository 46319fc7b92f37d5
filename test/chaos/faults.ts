import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.js';
import type { Rng } from '../support/rng.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { ChaosServer, World } from './world.js';

/** Hurts the world, and heals it again. */
export type Fault = (world: World, rng: Rng) => Promise<void>;

async function restartServer(world: World, server: ChaosServer, end: () => Promise<unknown>, pauseMs: number): Promise<void> {
  await end();
  await sleep(pauseMs);
  server.running = await world.startServer(server.running);
}

function briefly(act: (world: World, rng: Rng) => () => unknown, minMs: number, maxMs: number): Fault {
  return async (world, rng) => {
    const undo = act(world, rng);
    await sleep(rng.int(minMs, maxMs));
    await undo();
  };
}

/** Redis loses what it does not hold on disk, which is all. */
function forgetting(act: (world: World, rng: Rng) => Promise<void>): Fault {
  return (world, rng) => world.toRedis(() => world.newEpoch(() => act(world, rng)));
}

/** What goes in one direction is held back, and then lost with the connection. */
function dropOneWay(proxyOf: (world: World, rng: Rng) => TcpProxy): Fault {
  return async (world, rng) => {
    const [proxy, direction] = [proxyOf(world, rng), rng.pick(['up', 'down'] as const)];
    proxy.pause(direction);
    await sleep(rng.int(100, 2_500));
    proxy.cut();
    proxy.resume(direction);
  };
}

async function command(world: World, ...[name = '', ...args]: string[]): Promise<void> {
  const client = world.redis.client();
  await client.call(name, ...args);
  client.disconnect();
}

/** A replica that has all but the last writes becomes the master. */
async function failOver(world: World, rng: Rng): Promise<void> {
  const [master, replica] = [world.redis, await world.startAnotherRedis()];
  const client = replica.client();
  await client.replicaof(master.host, master.port);
  await eventually('the replica to have it all', async () => (await client.info('replication')).includes('master_link_status:up'));
  await client.replicaof('NO', 'ONE');
  await sleep(rng.int(50, 500)); // of writes that it misses
  await master.stop();
  world.back.retarget({ port: replica.port });
  world.redis = replica;
}

const HOURS = 3_600;

function setClock({ clock }: World, rng: Rng): void {
  clock?.set(rng.chance(0.5) ? rng.int(-2 * HOURS, 2 * HOURS) : rng.int(-10, 10));
}

const front = (world: World, rng: Rng) => rng.pick(world.servers).front;

/** By name, for `--faults`. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  'kill-server': async (world, rng) => {
    const server = rng.pick(world.servers);
    await restartServer(world, server, () => server.running.kill(), rng.int(0, 1_500));
  },
  'stop-server': async (world, rng) => {
    const server = rng.pick(world.servers);
    await restartServer(world, server, () => server.running.stop(), rng.int(0, 500));
  },
  'rolling-restart': async (world) => {
    for (const server of world.servers) await restartServer(world, server, () => server.running.stop(), 0);
  },
  'freeze-server': briefly(
    (world, rng) => {
      const { running } = rng.pick(world.servers);
      running.pause();
      return running.resume;
    },
    200,
    3_000,
  ),
  'kill-client': async (world, rng) => {
    const slot = rng.int(0, world.clients.length - 1);
    const client = world.clients[slot];
    world.clients[slot] = undefined;
    await client?.process.kill('SIGKILL');
    await world.startClient(slot);
  },
  'freeze-client': briefly(
    (world, rng) => {
      const client = rng.pick(world.clients);
      client?.process.pause();
      return () => client?.process.resume();
    },
    500,
    5_000,
  ),
  'cut-clients': briefly(
    (world, rng) => {
      const proxy = front(world, rng);
      proxy.refuse();
      proxy.cut();
      return () => proxy.accept();
    },
    0,
    2_000,
  ),
  'half-open-clients': briefly(
    (world, rng) => {
      const proxy = front(world, rng);
      const direction = rng.pick(['up', 'down', undefined] as const);
      proxy.pause(direction);
      return () => proxy.resume(direction);
    },
    200,
    4_000,
  ),
  'slow-clients': briefly(
    (world, rng) => {
      const proxy = front(world, rng);
      proxy.delay(rng.int(20, 200));
      return () => proxy.delay(0);
    },
    500,
    2_000,
  ),
  'drop-clients-one-way': dropOneWay(front),
  'cut-redis': briefly(
    ({ back }) => {
      back.refuse();
      back.cut();
      return () => back.accept();
    },
    0,
    1_500,
  ),
  'half-open-redis': briefly(
    ({ back }, rng) => {
      const direction = rng.pick(['up', 'down'] as const);
      back.pause(direction);
      return () => back.resume(direction);
    },
    200,
    3_000,
  ),
  'drop-redis-one-way': dropOneWay(({ back }) => back),
  'slow-redis': briefly(
    ({ back }, rng) => {
      back.delay(rng.int(5, 100));
      return () => back.delay(0);
    },
    500,
    2_000,
  ),
  'freeze-redis': (world, rng) =>
    world.toRedis(async () => {
      await world.redis.pause();
      await sleep(rng.int(200, 3_000));
      await world.redis.resume();
    }),
  'kill-subscription': (world) => world.toRedis(() => command(world, 'CLIENT', 'KILL', 'TYPE', 'pubsub')),
  'lose-messages': (world, rng) =>
    world.toRedis(async () => {
      await command(world, 'ACL', 'SETUSER', 'default', '-subscribe');
      await command(world, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
      await sleep(rng.int(500, 3_000));
      await command(world, 'ACL', 'SETUSER', 'default', '+subscribe');
    }),
  'restart-redis': forgetting(async ({ redis }, rng) => {
    await redis.kill();
    await sleep(rng.int(0, 500));
    await redis.start();
  }),
  'flush-redis': forgetting((world) => command(world, 'FLUSHALL')),
  'fail-over-redis': forgetting(failOver),
  'set-clock-of-redis': forgetting(async (world, rng) => setClock(world, rng)),
};

/** Those after which a server knows nothing that it was not told again. */
export const ENDS_SERVERS: ReadonlySet<string> = new Set(['kill-server', 'stop-server', 'rolling-restart']);

/** All that can be done on this machine. */
export function possibleFaults({ clock }: World): string[] {
  return Object.keys(FAULTS).filter((name) => name !== 'set-clock-of-redis' || clock !== undefined);
}
