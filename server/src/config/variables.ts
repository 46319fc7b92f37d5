import type { z } from 'zod';
import { maskUrl } from '../redis/target.js';
import { historyRules, origins } from './event-types.js';
import { address, boolean, directory, duration, integer, namespace, oneOf, redisUrl, shortText, type ValueType } from './types.js';

/** One variable of the environment: the only place that knows its name, default, limits and meaning. */
export interface Variable<T> {
  readonly env: string;
  /** What an unset or empty variable means, as it would be written. Undefined: the key stays unset. */
  readonly fallback: string | undefined;
  readonly type: ValueType<T>;
  readonly help: string;
  /** The value may hold a password, and is only shown like this. */
  readonly mask?: (value: string) => string;
}

const LOGIN_CHARACTERS_MAX = 512;

function variable<T, const F extends string | undefined>(env: string, fallback: F, type: ValueType<T>, help: string) {
  return { env, fallback, type, help };
}

/** All variables, by the key that they have in `Config`; the order is that of the documentation. */
export const VARIABLES = {
  grpcAddress: variable('STAFETT_GRPC_ADDRESS', '127.0.0.1:50051', address(), 'Where gRPC is served.'),
  advertiseAddress: variable(
    'STAFETT_ADVERTISE_ADDRESS',
    undefined,
    address(),
    'Where the other servers of the cluster reach the gRPC of this one, to pass on calls to instances. Unset: `STAFETT_GRPC_ADDRESS`, or, if that stands for all addresses (`0.0.0.0`, `[::]`), the host name with its port.',
  ),
  httpAddress: variable(
    'STAFETT_HTTP_ADDRESS',
    '127.0.0.1:8080',
    address(),
    'Where HTTP is served: events for browsers, answers of instances, `/healthz`, `/readyz` and `/metrics`.',
  ),
  redisTarget: {
    ...variable(
      'REDIS_URL',
      undefined,
      redisUrl(),
      'The Redis or Valkey that keeps the state: one, the master that sentinels name, or a cluster. Unset: an embedded one, a private child process without a disk, which ends with the server.',
    ),
    mask: maskUrl,
  },
  sentinelUsername: variable(
    'STAFETT_SENTINEL_USERNAME',
    undefined,
    shortText(LOGIN_CHARACTERS_MAX),
    'The user at the sentinels of a `redis+sentinel://` in `REDIS_URL`, which names user and password of the master alone. Unset: their default user.',
  ),
  sentinelPassword: {
    ...variable(
      'STAFETT_SENTINEL_PASSWORD',
      undefined,
      shortText(LOGIN_CHARACTERS_MAX),
      'The password at these sentinels (their `requirepass`, or that of their user). Unset: they ask for none.',
    ),
    mask: () => '***',
  },
  redisIsNew: variable(
    'STAFETT_REDIS_IS_NEW',
    'false',
    boolean(),
    'For tests: the Redis was started for this server, and nobody holds anything in it. Spares the grace period that a Redis younger than `STAFETT_MAX_TTL` gets, since it may have lost its data. Only for the first Redis process that the server meets.',
  ),
  insecure: variable(
    'STAFETT_INSECURE',
    'false',
    boolean(),
    'Allows addresses that other machines can reach. This version knows neither authentication nor TLS: whoever reaches the port may take and break any lock.',
  ),
  privilegedCalls: variable(
    'STAFETT_PRIVILEGED_CALLS',
    'false',
    boolean(),
    'Lets callers make the privileged calls of instances, which show the inside of a process or change it: heap snapshots, CPU profiles, thread dumps, log levels. Callers are anonymous in this version, so whoever reaches the gRPC or HTTP port may then make them. An instance has to offer them, too.',
  ),
  logLevel: variable(
    'STAFETT_LOG_LEVEL',
    'info',
    oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    'The least severe messages to log. Logs are JSON lines on stderr; `debug` has a line for each call.',
  ),
  maxTtlMs: variable(
    'STAFETT_MAX_TTL',
    '30s',
    duration('1s', '24h'),
    'The longest TTL that a session or a lease of its own may ask for: how long a crashed holder may keep others waiting.',
  ),
  lockRetentionMs: variable(
    'STAFETT_LOCK_RETENTION',
    '24h',
    duration('1s', '8760h'),
    'How long a lock that nobody holds or waits for is remembered, with its last holders.',
  ),
  maxNamespaces: variable('STAFETT_MAX_NAMESPACES', '1000', integer(1, 1_000_000), 'How many namespaces there may be.'),
  maxWaitersPerLock: variable('STAFETT_MAX_WAITERS_PER_LOCK', '100000', integer(1, 10_000_000), 'How many acquires may wait for one name.'),
  maxSessions: variable('STAFETT_MAX_SESSIONS', '100000', integer(1, 10_000_000), 'How many sessions a namespace may have.'),
  maxLocksPerSession: variable(
    'STAFETT_MAX_LOCKS_PER_SESSION',
    '100000',
    integer(1, 10_000_000),
    'How many grants and waiting acquires a session may have.',
  ),
  maxProcesses: variable('STAFETT_MAX_PROCESSES', '10000', integer(1, 1_000_000), 'How many managed processes a namespace may have.'),
  maxWorkers: variable('STAFETT_MAX_WORKERS', '1000', integer(1, 10_000), 'How many workers a managed process may have.'),
  maxRuns: variable(
    'STAFETT_MAX_RUNS',
    '100000',
    integer(1, 10_000_000),
    'How many runs a namespace may have, those included that are over and still remembered.',
  ),
  maxCommandsPerStream: variable(
    'STAFETT_MAX_COMMANDS_PER_STREAM',
    '200000',
    integer(1, 10_000_000),
    'How many commands may be in flight on one pipeline, waiting acquires included.',
  ),
  maxPendingAcquires: variable(
    'STAFETT_MAX_PENDING_ACQUIRES',
    '200000',
    integer(1, 10_000_000),
    'How many acquires may wait for an answer of this server, of all namespaces and connections. Each takes about 2 kB. Leave room for those that come from a server that dies.',
  ),
  maxPendingBytes: variable(
    'STAFETT_MAX_PENDING_BYTES',
    '268435456',
    integer(65_536, 17_179_869_184),
    'How many bytes the names, owners and ids of those acquires may take.',
  ),
  maxCallsPerInstance: variable(
    'STAFETT_MAX_CALLS_PER_INSTANCE',
    '64',
    integer(1, 1_000),
    'How many calls an instance may answer at once.',
  ),
  maxMessageBytes: variable(
    'STAFETT_MAX_MESSAGE_BYTES',
    '4194304',
    integer(65_536, 67_108_864),
    'The largest gRPC message that the server accepts. A larger one is refused with RESOURCE_EXHAUSTED.',
  ),
  maxSettings: variable('STAFETT_MAX_SETTINGS', '10000', integer(1, 100_000), 'How many settings a namespace may have.'),
  maxSettingBytes: variable('STAFETT_MAX_SETTING_BYTES', '65536', integer(64, 1_048_576), 'How long the JSON text of a setting may be.'),
  settingsDir: variable(
    'STAFETT_SETTINGS_DIR',
    undefined,
    directory(),
    'A directory of this server’s own in which it keeps a file with the settings of each namespace, so that they outlive a restart of Redis and all servers at once. Unset: none; settings then live as long as one server or Redis does.',
  ),
  flagdNamespace: variable(
    'STAFETT_FLAGD_NAMESPACE',
    'default',
    namespace(),
    'The namespace whose feature flags are told to providers of OpenFeature that do not say which they want.',
  ),
  resumeWindowMs: variable(
    'STAFETT_RESUME_WINDOW',
    '5s',
    duration('0ms', '5m'),
    'How long the waiting acquires of a broken pipeline keep their place, for the client to come back for them.',
  ),
  drainTimeoutMs: variable(
    'STAFETT_DRAIN_TIMEOUT',
    '10s',
    duration('0ms', '10m'),
    'How long a stopping server lets calls in flight finish before it cuts them off.',
  ),
  historyRules: variable(
    'STAFETT_EVENT_HISTORY',
    undefined,
    historyRules(),
    'Which channels of events keep a history: how many publications, and for how long. The longest pattern that fits a channel counts. Unset: those for which a publisher asks for one.',
  ),
  maxHistorySize: variable(
    'STAFETT_MAX_HISTORY_SIZE',
    '10000',
    integer(1, 1_000_000),
    'How many publications of a channel a publisher may ask to keep.',
  ),
  maxHistoryAgeMs: variable(
    'STAFETT_MAX_HISTORY_AGE',
    '24h',
    duration('1s', '24h'),
    'For how long a publisher may ask to keep the publications of a channel.',
  ),
  idempotencyWindowMs: variable(
    'STAFETT_IDEMPOTENCY_WINDOW',
    '1m',
    duration('1s', '24h'),
    'For how long the idempotency key of a publication is remembered. Each takes some 200 bytes of Redis’ memory.',
  ),
  maxPublicationBytes: variable(
    'STAFETT_MAX_PUBLICATION_BYTES',
    '65536',
    integer(1_024, 1_048_576),
    'The largest event that may be published.',
  ),
  maxSubscriberBytes: variable(
    'STAFETT_MAX_SUBSCRIBER_BYTES',
    '1048576',
    integer(65_536, 268_435_456),
    'How many bytes may wait for a subscriber that reads too slowly. Let it be more than twice the largest event.',
  ),
  maxSubscriptions: variable(
    'STAFETT_MAX_SUBSCRIPTIONS',
    '10000',
    integer(1, 1_000_000),
    'How many subscribers to events this server may have, browsers included.',
  ),
  corsOrigins: variable(
    'STAFETT_HTTP_CORS_ORIGINS',
    undefined,
    origins(),
    'Whose pages may read events in a browser (CORS). Unset: only pages that come from where the server seems to be.',
  ),
  sseHeartbeatMs: variable(
    'STAFETT_SSE_HEARTBEAT',
    '15s',
    duration('1s', '5m'),
    'How often a browser’s stream of events carries a comment, so that nothing in between takes it for dead.',
  ),
} as const satisfies Record<string, Variable<unknown>>;

type Variables = typeof VARIABLES;
export type ConfigKey = keyof Variables;

type Value<V extends Variable<unknown>> = z.output<V['type']['schema']> | (V['fallback'] extends string ? never : undefined);

/** The configuration of a server. Durations are in ms, sizes in bytes. */
export type Config = { readonly [K in ConfigKey]: Value<Variables[K]> };
