import fc from 'fast-check';
import { SERVERS } from '../support/engine-harness.js';

/** Names with all that could be mistaken for a separator. */
export const NAMES = ['a', 'b.c', 'd e', 'ä|~é', 'customer/42'] as const;
export const SLOTS = 4;
export const THREADS = 2;
export const LEASES = 3;

const TTLS_MS = [1_000, 1_500, 3_000];

/** What a command is about is said by number; which session, lock or token that is depends on the moment (see `resolve.ts`). */
export type Op =
  | { op: 'open' | 'keep' | 'close'; slot: number; ttlMs: number }
  | { op: 'acquire'; slot: number; names: number[]; wait: 0 | 1; nested: boolean; thread: number }
  | { op: 'strange-context'; slot: number; names: number[]; wait: 0 | 1; picks: number[] }
  | { op: 'lease'; slot: number; names: number[]; wait: 0 | 1; ttlMs: number }
  | { op: 'repeat'; pick: number; wait: 0 | 1; otherNames: boolean }
  | { op: 'cancel'; pick: number; only: 'any' | 'own' | 'caller' }
  | { op: 'timeout' | 'release'; pick: number }
  | { op: 'release-holder'; name: number }
  | { op: 'release-revoked' | 'release-unknown'; slot: number }
  | { op: 'extend'; pick: number; ttlMs: number }
  | { op: 'keep-lease'; pick: number; ttlMs: number }
  | { op: 'force'; name: number; token: 'none' | 'right' | 'wrong' }
  | { op: 'watch'; names: number[]; ms: number }
  | { op: 'unwatch'; names: number[] }
  | { op: 'session'; slot: number }
  | { op: 'list'; prefix: string; after: number; limit: number; active: 0 | 1 }
  | { op: 'sessions'; after: number; limit: number }
  | { op: 'drain' | 'sweep' };

/** `deadline`: to the next deadline of a session, and so many ms from there. `lose`: Redis forgets, and is so many ms behind. */
export type Advance = { by: 'no' } | { by: 'us'; us: number } | { by: 'ms' | 'deadline' | 'lose'; ms: number };

export interface Step {
  readonly advance: Advance;
  readonly server: string;
  readonly ops: Op[];
}

const slot = fc.nat({ max: SLOTS - 1 });
const pick = fc.nat({ max: 15 });
const name = fc.nat({ max: NAMES.length - 1 });
const wait = fc.constantFrom<(0 | 1)[]>(1, 1, 1, 0);
const ttlMs = fc.constantFrom(...TTLS_MS);
const someNames = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(name) },
  { weight: 4, arbitrary: fc.uniqueArray(name, { minLength: 2, maxLength: 4, size: 'max' }) },
);
const constant = <T extends string>(op: T) => fc.constant(op);

function weighted<T>(arbitraries: readonly [weight: number, arbitrary: fc.Arbitrary<T>][]): fc.Arbitrary<T> {
  return fc.oneof(...arbitraries.map(([weight, arbitrary]) => ({ weight, arbitrary })));
}

const op: fc.Arbitrary<Op> = weighted<Op>([
  [1, fc.record({ op: constant('open'), slot, ttlMs })],
  [3, fc.record({ op: constant('keep'), slot, ttlMs })],
  [1, fc.record({ op: constant('close'), slot, ttlMs })],
  [14, fc.record({ op: constant('acquire'), slot, names: someNames, wait, nested: fc.boolean(), thread: fc.nat({ max: THREADS - 1 }) })],
  [1, fc.record({ op: constant('strange-context'), slot, names: someNames, wait, picks: fc.array(pick, { minLength: 1, maxLength: 3 }) })],
  [4, fc.record({ op: constant('lease'), slot: fc.nat({ max: LEASES - 1 }), names: someNames, wait, ttlMs })],
  [3, fc.record({ op: constant('repeat'), pick, wait, otherNames: fc.nat({ max: 2 }).map((n) => n === 0) })],
  [2, fc.record({ op: constant('cancel'), pick, only: fc.constantFrom('any', 'own', 'caller') })],
  [2, fc.record({ op: constant('timeout'), pick })],
  [4, fc.record({ op: constant('release'), pick })],
  [6, fc.record({ op: constant('release-holder'), name })],
  [2, fc.record({ op: constant('release-revoked'), slot })],
  [1, fc.record({ op: constant('release-unknown'), slot })],
  [2, fc.record({ op: constant('extend'), pick, ttlMs: fc.constantFrom(0, 1_000, 2_500) })],
  [1, fc.record({ op: constant('keep-lease'), pick, ttlMs })],
  [3, fc.record({ op: constant('force'), name, token: fc.constantFrom('none', 'right', 'wrong') })],
  [2, fc.record({ op: constant('watch'), names: someNames, ms: fc.constantFrom(500, 5_000, 60_000) })],
  [1, fc.record({ op: constant('unwatch'), names: someNames })],
  [1, fc.record({ op: constant('session'), slot })],
  [
    1,
    fc.record({
      op: constant('list'),
      prefix: fc.constantFrom('', 'a', 'customer/', 'ä'),
      after: fc.nat({ max: NAMES.length }),
      limit: fc.nat({ max: 3 }).map((n) => n + 1),
      active: fc.constantFrom<(0 | 1)[]>(0, 1),
    }),
  ],
  [1, fc.record({ op: constant('sessions'), after: slot, limit: fc.nat({ max: 3 }).map((n) => n + 1) })],
  [1, fc.record({ op: constant('drain') })],
  [1, fc.record({ op: constant('sweep') })],
]);

const advance: fc.Arbitrary<Advance> = weighted<Advance>([
  [200, fc.constant({ by: 'no' })],
  [40, fc.record({ by: constant('us'), us: fc.integer({ min: 1, max: 999 }) })],
  [40, fc.record({ by: constant('ms'), ms: fc.integer({ min: -5, max: 200 }) })],
  [40, fc.record({ by: constant('deadline'), ms: fc.constantFrom(-1, 0, 1) })],
  [10, fc.record({ by: constant('ms'), ms: fc.constantFrom(1_200, 3_000, 25_000) })],
  [1, fc.record({ by: constant('lose'), ms: fc.constantFrom(0, 3_000) })],
]);

export const step: fc.Arbitrary<Step> = fc.record({
  advance,
  server: fc.constantFrom(...SERVERS),
  ops: fc.oneof(
    { weight: 3, arbitrary: fc.tuple(op) },
    { weight: 2, arbitrary: fc.array(op, { minLength: 2, maxLength: 5, size: 'max' }) },
  ),
});

export const limits = fc.record({
  maxWaitersPerLock: fc.constantFrom(100, 100, 100, 2),
  maxLocksPerSession: fc.constantFrom(100, 100, 3),
  maxSessions: fc.constantFrom(100, 100, 100, 3),
  maxNamespaces: fc.constant(100),
  maxRuns: fc.constant(100),
  lockRetentionMs: fc.constantFrom(10_000, 2_000),
  expireBudget: fc.constantFrom(300, 300, 1, 2, 3),
});
