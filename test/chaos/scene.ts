import type { Redis } from 'ioredis';
import { gateKey } from '../../server/src/redis/keys.js';
import type { StubClient } from '../support/stub-client.js';
import { connectStub } from '../support/stub-stack.js';
import { monotonicUs, type Told } from './events.js';
import { NAMES } from './settings.js';
import type { World } from './world.js';

const LOG_LINES = 60;
const OBSERVATIONS = 40;
const SESSIONS_MAX = 100;

/** For people who have to find out why nobody got on: who has and wants what, as everybody tells. */
export async function describeScene(world: World): Promise<string[]> {
  const servers = await Promise.all(
    world.servers.map(({ running }, i) => describeServer(`server ${i}`, connectStub(running, world.namespace))),
  );
  const redis = await Promise.all(world.site.places.map(({ redis }) => describeRedis(redis.client({ commandTimeout: 1_000 }), world)));
  const logs = world.servers.map(({ running }, i) => {
    const lines = running.logs().slice(-LOG_LINES);
    return `log of server ${i}:\n${lines.map((line) => `    ${JSON.stringify(line)}`).join('\n')}`;
  });
  return [...servers, ...redis, describeClients(world), describeQueues(world), ...logs];
}

async function describeServer(who: string, stub: StubClient): Promise<string> {
  const sessions = await stub.sessions.listSessions({ pageSize: SESSIONS_MAX }).then(
    ({ sessions }) =>
      sessions.map(({ sessionId, client, lockCount, openTime, expireTime }) => {
        return `    ${sessionId} of ${client?.name}: ${lockCount} grants and waits, opened ${show(openTime)}, until ${show(expireTime)}`;
      }),
    (error: Error) => [`    cannot list sessions: ${error.message}`],
  );
  const locks = await Promise.all(NAMES.map((name) => describeLock(name, stub).catch((error: Error) => `    ${name}: ${error.message}`)));
  return [`${who}:`, ...sessions, ...locks].join('\n');
}

async function describeLock(name: string, stub: StubClient): Promise<string> {
  const { holder, waiters } = await stub.getLock(name);
  const has = holder
    ? `${holder.sessionId}/${holder.purpose} since ${show(holder.acquireTime)} until ${show(holder.expireTime)}`
    : 'nobody';
  const wait = waiters.map(({ sessionId, purpose, enqueueTime }) => `${sessionId}/${purpose} since ${show(enqueueTime)}`);
  return `    ${name}: ${has}; then ${wait.join(', ') || 'nobody'}`;
}

async function describeRedis(client: Redis, { namespace }: World): Promise<string> {
  const told = Promise.all([client.hgetall(gateKey(namespace)), client.info('replication'), client.info('server'), client.time()]);
  const answers = await told.catch((error: Error) => error).finally(() => client.disconnect());
  if (answers instanceof Error) return `Redis: cannot be asked: ${answers.message}`;
  const [gate, replication, server, time] = answers;
  const facts = [/^role:\w+/m.exec(replication)?.[0], /^master_link_status:\w+/m.exec(replication)?.[0], /^run_id:\w+/m.exec(server)?.[0]];
  return `Redis: ${facts.join(', ')}, time ${time.join('.')}, gate ${JSON.stringify(gate)}`;
}

/** What each transaction that is not over told last. */
function describeClients({ events, clients }: World): string {
  const last = new Map<string, Told>();
  for (const event of events) {
    if (event.kind === 'done') for (const id of [event.id, `${event.id}n`]) last.delete(id);
    else if (event.kind === 'granted' || event.kind === 'held') last.set(event.id, event);
  }
  const names = new Set(clients.map((client) => client?.name));
  const now = monotonicUs();
  const lines = [...last.values()].flatMap((event) => {
    if (!names.has(event.client) || !('id' in event)) return [];
    return [
      `    ${event.id}: ${event.kind}${event.kind === 'granted' ? ` to ${event.session}` : ''} ${Math.round((now - event.at) / 1_000)} ms ago`,
    ];
  });
  return ['transactions that began and did not end:', ...lines].join('\n');
}

function describeQueues({ observer }: World): string {
  const now = monotonicUs();
  const lines = observer.observations.slice(-OBSERVATIONS).map(({ to, name, queue, past }) => {
    return `    ${Math.round((now - to) / 1_000)} ms ago ${name}: ${queue.length} wait; last holder until ${past[0]?.until ?? '–'}`;
  });
  return ['the last looks at the queues:', ...lines].join('\n');
}

function show(time: { seconds: bigint; nanos: number } | undefined): string {
  return time ? `${time.seconds}.${String(Math.round(time.nanos / 1e6)).padStart(3, '0')}` : '–';
}
