import { Redis, type RedisOptions, ReplyError } from 'ioredis';
import type { Logger } from 'pino';
import { redisUnavailable, StafettError } from '../rpc/errors.js';
import { NodePicker } from './node-picker.js';
import { describeTarget, type RedisTarget } from './target.js';

/** How long a TCP connect may take, ms. */
const ATTEMPT_TIMEOUT_MS = 3_000;
/** A connection that owes a reply and is silent for so long is dead, ms. */
const SILENCE_TIMEOUT_MS = 4_000;
/** How often an idle connection is asked for a sign of life, ms. Dead ones are found within this plus the silence. */
const HEARTBEAT_MS = 2_000;
const RETRY_MIN_MS = 20;
const RETRY_MAX_MS = 1_000;

/** Replies that tell of a Redis that cannot serve now, but of no mistake in the command. */
const NOT_NOW = /^(LOADING|BUSY|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|OOM|MISCONF|NOREPLICAS)\b/;
/** Replies to the log-in that no retry will change. */
export const REFUSED = /WRONGPASS|NOAUTH|NOPERM|invalid password|DB index/i;
/** What ioredis makes of the reply of a sentinel, when none of them helps. */
const REFUSED_BY_SENTINEL = /^All sentinels are unreachable\b.* Last error: (WRONGPASS|NOAUTH|NOPERM)\b/;

/** Clients that were closed on purpose, which is no news. */
const closing = new WeakSet<Redis>();

/**
 * An ioredis client that is not yet connected. It reconnects for ever, but neither queues nor repeats a command by
 * itself: what was in flight fails at once, since only the layers above know what may be asked again. In a cluster it goes to
 * the node that `picker` chooses.
 */
export function createClient(target: RedisTarget, name: string, logger: Logger, picker?: NodePicker): Redis {
  const redis = new Redis({
    ...addressOptions(target, picker),
    lazyConnect: true,
    connectionName: name,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    // 0: each loss of the connection rejects what was in flight.
    maxRetriesPerRequest: 0,
    retryStrategy: retryDelayMs,
    // A master that became a replica: whoever is the master now has to be looked for.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    connectTimeout: ATTEMPT_TIMEOUT_MS,
    socketTimeout: SILENCE_TIMEOUT_MS,
    disconnectTimeout: 200,
    keepAlive: 5_000,
    noDelay: true,
  } as RedisOptions);
  logStates(redis, logger.child({ redis: describeTarget(target), connection: name }));
  startHeartbeat(redis);
  reviveWhenEnded(redis);
  return redis;
}

/** Closes for good. What is in flight fails. */
export function closeClient(redis: Redis): void {
  closing.add(redis);
  redis.disconnect();
}

/** 20 ms → 1 s, exponential, the upper half of it random, so that servers do not come back in step. */
export function retryDelayMs(attempt: number): number {
  const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (attempt - 1));
  return Math.round(ceiling / 2 + (Math.random() * ceiling) / 2);
}

/**
 * Connects for the first time.
 * @throws {Error} for the operator, after `timeoutMs` or as soon as Redis or its sentinels refuse the log-in; the client is then closed.
 */
export async function connectFirst(redis: Redis, target: RedisTarget, timeoutMs: number): Promise<void> {
  let last: Error | undefined;
  await new Promise<void>((resolve, reject) => {
    const finish = (error?: Error) => {
      clearTimeout(timer);
      redis.off('ready', onReady).off('error', onError);
      if (error === undefined) return resolve();
      closeClient(redis);
      reject(error);
    };
    const onReady = () => finish();
    const onError = (error: Error) => {
      last = error;
      if (error instanceof ReplyError && REFUSED.test(error.message)) finish(refused(target, error));
      else if (REFUSED_BY_SENTINEL.test(error.message)) finish(refusedBySentinel(target, error));
    };
    const timer = setTimeout(() => finish(unreachable(target, timeoutMs, last)), timeoutMs);
    redis.on('ready', onReady).on('error', onError);
    redis.connect().catch(() => {}); // told by the events
  });
}

/** What a caller gets for an error of ioredis: a refusal when Redis is out of reach, the error itself when a script failed. */
export function toCallerError(error: unknown): unknown {
  if (error instanceof StafettError || !(error instanceof Error)) return error;
  // ioredis hangs the arguments on the error, from where they would get into logs.
  delete (error as { command?: unknown }).command;
  if (error instanceof ReplyError && !NOT_NOW.test(error.message)) return error;
  const unavailable = redisUnavailable();
  unavailable.cause = error;
  return unavailable;
}

/** Where to connect and how to log in. */
export function addressOptions(target: RedisTarget, picker?: NodePicker): RedisOptions {
  if (target.kind === 'unix') return { path: target.path };
  if (target.kind === 'cluster') {
    const { nodes, tls, username, password } = target;
    const login = { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
    return { ...login, Connector: (picker ?? new NodePicker(() => nodes)).connector(tls) };
  }
  const { db, username, password, tls } = target;
  const login = { db, ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
  if (target.kind === 'tcp') return { ...login, host: target.host, port: target.port, ...(tls && { tls: { servername: target.host } }) };
  return {
    ...login,
    sentinels: [...target.sentinels],
    name: target.master,
    ...(target.sentinelUsername !== undefined && { sentinelUsername: target.sentinelUsername }),
    ...(target.sentinelPassword !== undefined && { sentinelPassword: target.sentinelPassword }),
    sentinelRetryStrategy: retryDelayMs,
    sentinelCommandTimeout: ATTEMPT_TIMEOUT_MS,
    // Does not wait until the old master is noticed to be gone.
    failoverDetector: true,
    sentinelReconnectStrategy: retryDelayMs,
    ...(tls && { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }),
  };
}

/** The loss of a connection is one warning, however many attempts it takes to get it back. */
function logStates(redis: Redis, logger: Logger): void {
  let warned = false;
  redis.on('error', (error: Error) => {
    const level = warned ? 'debug' : 'warn';
    warned = true;
    logger[level]({ problem: error.message }, 'Redis connection failed; trying again');
    // ioredis would go on in database 0.
    if (/DB index/i.test(error.message)) redis.disconnect(true);
  });
  redis.on('close', () => {
    if (!warned && !closing.has(redis)) logger.warn('Redis connection lost');
    warned = true;
  });
  redis.on('ready', () => {
    warned = false;
    logger.info('Redis connection ready');
  });
}

/** Gives an idle connection something to answer, for `socketTimeout` only watches one that owes a reply. */
function startHeartbeat(redis: Redis): void {
  const timer = setInterval(() => {
    if (redis.status === 'ready') redis.ping().catch(() => {}); // the timeout closes the connection, that is enough
  }, HEARTBEAT_MS);
  timer.unref();
  redis.on('end', () => {
    if (closing.has(redis)) clearInterval(timer);
  });
}

/**
 * ioredis gives up for good when it is told to disconnect while it still looks for the address; and it tells itself so, if a sentinel
 * announces another master just then.
 */
function reviveWhenEnded(redis: Redis): void {
  redis.on('end', () => {
    if (closing.has(redis)) return;
    setTimeout(() => {
      if (!closing.has(redis)) redis.connect().catch(() => {}); // told by the events
    }, retryDelayMs(1)).unref();
  });
}

function unreachable(target: RedisTarget, timeoutMs: number, cause: Error | undefined): Error {
  const problem = cause === undefined ? 'no answer' : cause.message;
  return new Error(
    `no Redis at ${describeTarget(target)} within ${timeoutMs / 1000} s (${problem}): start it there, correct REDIS_URL, ` +
      'or unset REDIS_URL to use an embedded one',
    { cause },
  );
}

function refused(target: RedisTarget, cause: Error): Error {
  return new Error(
    `the Redis at ${describeTarget(target)} refuses the log-in (${cause.message}): correct the user, the password and the database in REDIS_URL`,
    { cause },
  );
}

function refusedBySentinel(target: RedisTarget, cause: Error): Error {
  const reply = cause.message.replace(/^.* Last error: /, '');
  return new Error(
    `the sentinels of ${describeTarget(target)} refuse the log-in (${reply}): correct STAFETT_SENTINEL_USERNAME and STAFETT_SENTINEL_PASSWORD`,
    { cause },
  );
}
