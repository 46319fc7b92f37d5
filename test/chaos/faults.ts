import { setTimeout as sleep } from 'node:timers/promises';
import type { Rng } from '../support/rng.js';
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
  'freeze-redis': briefly(
    ({ redis }) => {
      void redis.pause();
      return () => redis.resume();
    },
    200,
    3_000,
  ),
  'kill-subscription': async ({ redis }) => {
    const client = redis.client();
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    client.disconnect();
  },
  'restart-redis': async ({ redis }, rng) => {
    await redis.kill();
    await sleep(rng.int(0, 500));
    await redis.start();
  },
  'flush-redis': async ({ redis }) => {
    const client = redis.client();
    await client.flushall();
    client.disconnect();
  },
};
