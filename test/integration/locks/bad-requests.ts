import { Status } from 'nice-grpc-common';
import type {
  AcquireRequest,
  CancelAcquireRequest,
  DeepPartial,
  ExtendRequest,
  PipelineCommand,
  ReleaseRequest,
} from '../../../server/src/gen/stafett/v1/lock.js';

/** Requests that must be refused, as tables: what is wrong, the request, and the refusal. */

export interface Refusal {
  readonly code: Status;
  readonly reason: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

export const invalid = (field: string): Refusal => ({ code: Status.INVALID_ARGUMENT, reason: 'INVALID_FIELD', metadata: { field } });
const noSession: Refusal = { code: Status.NOT_FOUND, reason: 'SESSION_NOT_FOUND' };
const notHeld: Refusal = { code: Status.FAILED_PRECONDITION, reason: 'LOCK_NOT_HELD' };

/** What the requests refer to. */
export interface World {
  /** An open session, and a lock that it holds on `session-lock`. */
  readonly session: string;
  readonly sessionLock: string;
  /** A lease on `lease-lock`. */
  readonly lease: string;
  readonly closedSession: string;
  /** A lock that was held by the closed session. */
  readonly closedLock: string;
  /** Another open session’s lock on `foreign-lock`. */
  readonly foreignLock: string;
}

export type Command = NonNullable<DeepPartial<PipelineCommand>['command']>;
type Case = readonly [what: string, command: (world: World) => Command, refusal: Refusal];

/** Of the server that is asked, in s. */
export const MAX_TTL_S = 600;

const TTL = { seconds: 10n, nanos: 0 };
const I64_MAX = 2n ** 63n - 1n;
const LONG = 'x'.repeat(257);
const LONG_IN_BYTES = 'ä'.repeat(129);

const acquire =
  (request: DeepPartial<AcquireRequest>): (() => Command) =>
  () => ({
    $case: 'acquire',
    value: { names: ['name'], ttl: TTL, ...request },
  });
const underSession =
  (request: DeepPartial<AcquireRequest>) =>
  (world: World): Command => ({
    $case: 'acquire',
    value: { names: ['name'], sessionId: world.session, ...request },
  });
const extend =
  (value: (world: World) => DeepPartial<ExtendRequest>) =>
  (world: World): Command => ({ $case: 'extend', value: value(world) });
const release = (value: DeepPartial<ReleaseRequest>) => (): Command => ({ $case: 'release', value });
const cancel = (value: DeepPartial<CancelAcquireRequest>) => (): Command => ({ $case: 'cancel', value });

export const BAD_DURATIONS: [string, { seconds: bigint; nanos: number }][] = [
  ['negative', { seconds: -1n, nanos: 0 }],
  ['a bit negative', { seconds: 0n, nanos: -1 }],
  ['huge', { seconds: I64_MAX, nanos: 999_999_999 }],
  ['hugely negative', { seconds: -I64_MAX, nanos: 0 }],
  ['with nanos of the other sign', { seconds: 2n, nanos: -500_000_000 }],
  ['with more nanos than a second has', { seconds: 2n, nanos: 1_000_000_000 }],
];

export const BAD_TTLS: typeof BAD_DURATIONS = [
  ...BAD_DURATIONS,
  ['zero', { seconds: 0n, nanos: 0 }],
  ['just below 1 s', { seconds: 0n, nanos: 999_999_999 }],
  ['just above the server’s max_ttl', { seconds: BigInt(MAX_TTL_S), nanos: 1 }],
];

export const BAD_NAMES: [string, string[]][] = [
  ['no names', []],
  ['an empty name', ['']],
  ['an empty name among others', ['a', '', 'b']],
  ['a name of 257 bytes', [LONG]],
  ['a name of 129 characters and 258 bytes', [LONG_IN_BYTES]],
  ['65 names', Array.from({ length: 65 }, (_, i) => `name-${i}`)],
  ['a name twice', ['a', 'b', 'a']],
  ['a name with NUL', ['a\0b']],
];

const BAD_LOCK_IDS = ['', 'x', '.', 'a.', '.a', 'a.b.c', 'a b.c', '~~a.b', 'å.b', `${'x'.repeat(65)}.a`, 'a\0.b', '../x.y'];
const BAD_REQUEST_IDS = ['a b', 'a.b', 'a\0', 'å', '~a', 'x'.repeat(65), '{a}', 'a\n'];

/** Both as unary calls and as commands of a pipeline. */
export const BAD_COMMANDS: Case[] = [
  ...BAD_NAMES.map(([what, names]): Case => [`acquire: ${what}`, acquire({ names }), invalid('names')]),
  ...BAD_TTLS.map(([what, ttl]): Case => [`acquire: a ttl that is ${what}`, acquire({ ttl }), invalid('ttl')]),
  ['acquire: neither session_id nor ttl', () => ({ $case: 'acquire', value: { names: ['name'] } }), invalid('ttl')],
  ['acquire: both session_id and ttl', underSession({ ttl: TTL }), invalid('ttl')],
  ...BAD_DURATIONS.map(
    ([what, waitTimeout]): Case => [`acquire: a wait_timeout that is ${what}`, acquire({ waitTimeout }), invalid('wait_timeout')],
  ),
  ['acquire: a wait_timeout above 24 h', acquire({ waitTimeout: { seconds: 86_400n, nanos: 1 } }), invalid('wait_timeout')],
  ...BAD_REQUEST_IDS.map(
    (requestId): Case => [`acquire: the request_id ${JSON.stringify(requestId)}`, acquire({ requestId }), invalid('request_id')],
  ),
  ['acquire: a session_id that is none', underSession({ sessionId: 'no id!' }), noSession],
  ['acquire: the session_id of a lease', (world) => underSession({ sessionId: world.lease.split('.')[0] as string })(world), noSession],
  ['acquire: an unknown session', underSession({ sessionId: 'unknown' }), noSession],
  ['acquire: a closed session', (world) => underSession({ sessionId: world.closedSession })(world), noSession],
  ...BAD_LOCK_IDS.map(
    (id): Case => [`acquire: ${JSON.stringify(id)} in held_lock_ids`, underSession({ heldLockIds: [id] }), invalid('held_lock_ids')],
  ),
  ['acquire: held_lock_ids without a session', (world) => acquire({ heldLockIds: [world.lease] })(), invalid('held_lock_ids')],
  [
    'acquire: 1,001 held_lock_ids',
    (world) => underSession({ heldLockIds: Array(1_001).fill(world.sessionLock) })(world),
    invalid('held_lock_ids'),
  ],
  ['acquire: an unknown lock in held_lock_ids', (world) => underSession({ heldLockIds: [`${world.session}.unknown`] })(world), notHeld],
  [
    'acquire: a foreign session’s lock in held_lock_ids',
    (world) => underSession({ heldLockIds: [world.sessionLock, world.foreignLock] })(world),
    notHeld,
  ],
  ['acquire: a lease in held_lock_ids', (world) => underSession({ heldLockIds: [world.lease] })(world), notHeld],
  ['acquire: a purpose of 257 bytes', acquire({ purpose: LONG }), invalid('purpose')],
  ...(['host', 'thread', 'client'] as const).map(
    (key): Case => [`acquire: an owner.${key} of 258 bytes`, acquire({ owner: { [key]: LONG_IN_BYTES } }), invalid(`owner.${key}`)],
  ),
  ['acquire: an owner.trace_id of 65 bytes', acquire({ owner: { traceId: 'x'.repeat(65) } }), invalid('owner.trace_id')],
  ...BAD_LOCK_IDS.map((lockId): Case => [`release: the lock_id ${JSON.stringify(lockId)}`, release({ lockId }), invalid('lock_id')]),
  ['release: an unknown lock', release({ lockId: 'unknown.lock' }), notHeld],
  ['release: an unknown lease', release({ lockId: '~unknown.0' }), notHeld],
  ['release: a lock of a closed session', (world) => release({ lockId: world.closedLock })(), notHeld],
  ...BAD_LOCK_IDS.map((lockId): Case => [`extend: the lock_id ${JSON.stringify(lockId)}`, extend(() => ({ lockId })), invalid('lock_id')]),
  ...BAD_TTLS.map(
    ([what, ttl]): Case => [`extend: a ttl that is ${what}`, extend((world) => ({ lockId: world.lease, ttl })), invalid('ttl')],
  ),
  ['extend: an unknown lease', extend(() => ({ lockId: '~unknown.0' })), notHeld],
  [
    'extend: a lock of a session',
    extend((world) => ({ lockId: world.sessionLock })),
    { code: Status.FAILED_PRECONDITION, reason: 'LOCK_HELD_BY_SESSION' },
  ],
  ['cancel: no request_id', cancel({}), invalid('request_id')],
  ...BAD_REQUEST_IDS.map(
    (requestId): Case => [`cancel: the request_id ${JSON.stringify(requestId)}`, cancel({ requestId }), invalid('request_id')],
  ),
  ['cancel: a session_id that is none', cancel({ sessionId: 'no id!', requestId: 'a' }), noSession],
];
