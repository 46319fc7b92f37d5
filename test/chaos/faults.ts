import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.js';
import { cutReplication } from '../support/missed-writes.js';
import type { Rng } from '../support/rng.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { ClusterSite } from './cluster-site.js';
import type { Place, ReplicatedSite, SingleSite, SiteKind } from './site.js';
import type { ChaosServer, World } from './world.js';

/** Hurts the world, and heals it again. */
export type Fault = (world: World, rng: Rng) => Promise<void>;

/** The last restart of each server: of two faults at once the second waits for the first, which would else find its port taken. */
const restarts = new WeakMap<ChaosServer, Promise<void>>();

function restartServer(world: World, server: ChaosServer, end: () => Promise<unknown>, pauseMs: number): Promise<void> {
  const restart = async () => {
    await end();
    await sleep(pauseMs);
    server.running = await world.startServer(server.running);
  };
  const restarted = (restarts.get(server) ?? Promise.resolve()).then(restart);
  restarts.set(server, restarted);
  return restarted;
}

function briefly(act: (world: World, rng: Rng) => () => unknown, minMs: number, maxMs: number): Fault {
  return async (world, rng) => {
    const undo = act(world, rng);
    await sleep(rng.int(minMs, maxMs));
    await undo();
  };
}

/** Redis loses what it does not hold on disk, which is all. Where it has replicas, they have found together again afterwards. */
function forgetting(act: (world: World, rng: Rng) => Promise<void>): Fault {
  const all = async (world: World, rng: Rng) => {
    await act(world, rng);
    await world.site.settle();
  };
  return (world, rng) => world.toRedis(() => world.newEpoch(() => all(world, rng)));
}

/** What hurts a Redis without an epoch's end, unless somebody takes it for dead and makes a replica the master. */
function unlessReplaced(replaced: readonly SiteKind[], act: Fault): Fault {
  const [alone, together] = [act, forgetting(act)];
  return (world, rng) => (replaced.includes(world.site.kind) ? together : alone)(world, rng);
}

/** Of the network between servers and Redis. A sentinel looks at Redis through it, too; the nodes of a cluster at each other past it. */
function ofBack(act: Fault): Fault {
  return unlessReplaced(['sentinel'], act);
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

async function command({ redis }: Place, ...[name = '', ...args]: string[]): Promise<void> {
  const client = redis.client();
  await client.call(name, ...args);
  client.disconnect();
}

/** To each Redis there is. */
async function commandAll({ site }: World, ...words: string[]): Promise<void> {
  await Promise.all(site.places.map((place) => command(place, ...words)));
}

/** A replica that has all but the last writes becomes the master. */
async function failOver(site: SingleSite, rng: Rng): Promise<void> {
  const [{ redis: master }, replica] = [site.master, await site.startAnother()];
  const client = replica.client();
  await client.replicaof(master.host, master.port);
  await eventually('the replica to have it all', async () => (await client.info('replication')).includes('master_link_status:up'));
  await client.replicaof('NO', 'ONE');
  await sleep(rng.int(50, 500)); // of writes that it misses
  await master.stop();
  site.replaceBy(replica);
}

/** A replica becomes the master, by whoever watches them, and may miss the last writes. The other comes back as a replica. */
async function killMaster(site: ReplicatedSite, rng: Rng): Promise<void> {
  const { master } = site;
  if (rng.chance(0.5)) {
    await cutReplication(master.redis);
    await sleep(rng.int(50, 500));
  }
  await master.redis.kill();
  await site.whenReplaced(master);
  await sleep(rng.int(0, 500));
  await master.redis.start();
}

const HOURS = 3_600;

function setClock({ clock }: World, rng: Rng): void {
  clock?.set(rng.chance(0.5) ? rng.int(-2 * HOURS, 2 * HOURS) : rng.int(-10, 10));
}

const front = (world: World, rng: Rng) => rng.pick(world.servers).front;
/** Mostly that of the master that counts. */
const back = ({ site }: World, rng: Rng) => (rng.chance(0.7) ? site.master : rng.pick(site.places)).proxy;

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
  'cut-redis': ofBack(
    briefly(
      (world, rng) => {
        const proxy = back(world, rng);
        proxy.refuse();
        proxy.cut();
        return () => proxy.accept();
      },
      0,
      1_500,
    ),
  ),
  'half-open-redis': ofBack(
    briefly(
      (world, rng) => {
        const [proxy, direction] = [back(world, rng), rng.pick(['up', 'down'] as const)];
        proxy.pause(direction);
        return () => proxy.resume(direction);
      },
      200,
      3_000,
    ),
  ),
  'drop-redis-one-way': ofBack(dropOneWay(back)),
  'slow-redis': ofBack(
    briefly(
      (world, rng) => {
        const proxy = back(world, rng);
        proxy.delay(rng.int(5, 100));
        return () => proxy.delay(0);
      },
      500,
      2_000,
    ),
  ),
  'freeze-redis': unlessReplaced(['sentinel', 'cluster'], async ({ site: { master } }, rng) => {
    await master.redis.pause();
    await sleep(rng.int(200, 3_000));
    await master.redis.resume();
  }),
  'kill-subscription': (world) => world.toRedis(() => commandAll(world, 'CLIENT', 'KILL', 'TYPE', 'pubsub')),
  'lose-messages': (world, rng) =>
    world.toRedis(async () => {
      await commandAll(world, 'ACL', 'SETUSER', 'default', '-subscribe');
      await commandAll(world, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
      await sleep(rng.int(500, 3_000));
      await commandAll(world, 'ACL', 'SETUSER', 'default', '+subscribe');
    }),
  'restart-redis': forgetting(async ({ site: { master } }, rng) => {
    await master.redis.kill();
    await sleep(rng.int(0, 500));
    await master.redis.start();
  }),
  'flush-redis': forgetting(({ site }) => command(site.master, 'FLUSHALL')),
  'fail-over-redis': forgetting(({ site }, rng) => failOver(site as SingleSite, rng)),
  'kill-master': forgetting(({ site }, rng) => killMaster(site as ReplicatedSite, rng)),
  'hand-over-master': forgetting(({ site }) => (site as ReplicatedSite).handOver()),
  'move-slot': forgetting(({ site }, rng) => (site as ClusterSite).moveSlot(rng)),
  'set-clock-of-redis': forgetting(async (world, rng) => setClock(world, rng)),
};

/** Those after which a server knows nothing that it was not told again. */
export const ENDS_SERVERS: ReadonlySet<string> = new Set(['kill-server', 'stop-server', 'rolling-restart']);

/** What only some sites can suffer. */
const ONLY: Readonly<Record<string, readonly SiteKind[]>> = {
  'fail-over-redis': ['single'],
  'set-clock-of-redis': ['single'],
  'kill-master': ['sentinel', 'cluster'],
  'hand-over-master': ['sentinel', 'cluster'],
  'move-slot': ['cluster'],
};

/** All that can be done to such a site. */
export function faultsOf(kind: SiteKind): string[] {
  return Object.keys(FAULTS).filter((name) => ONLY[name]?.includes(kind) ?? true);
}

/** All that can be done on this machine. */
export function possibleFaults({ clock, site }: World): string[] {
  return faultsOf(site.kind).filter((name) => name !== 'set-clock-of-redis' || clock !== undefined);
}
