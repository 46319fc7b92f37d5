import { RESULT_TTL_MS, type ReportKind, type RunOp, TTL_MS } from '../support/run-model.js';

/** Histories that meet each promise, so that a bug is found without luck. */

const open = (sid: string): RunOp => ({ op: 'open', sid });
const keep = (sid: string): RunOp => ({ op: 'keep', sid });
const close = (sid: string): RunOp => ({ op: 'close', sid });
const advance = (ms: number): RunOp => ({ op: 'advance', ms });
const serve = (sid: string, concurrency: number): RunOp => ({ op: 'serve', sid, offers: [['x', concurrency]] });
const cancel = (id: string, stale = false): RunOp => ({ op: 'cancel', ref: `x/${id}`, stale });
const report = (sid: string, id: string, what: ReportKind, stale = false): RunOp => ({ op: 'report', sid, ref: `x/${id}`, stale, what });

interface More {
  readonly request?: string;
  readonly retries?: number;
  readonly waitMs?: number;
  readonly restart?: boolean;
}

let requests = 0;

function start(sid: string, id: string, { request = `own-${++requests}`, retries = 0, waitMs = 5_000, restart = true }: More = {}): RunOp {
  return { op: 'start', ref: `x/${id}`, sid, restart, request, retries, waitMs };
}

export const RUN_SCENARIOS: readonly (readonly RunOp[])[] = [
  // The least busy first, those equally busy in turn; a run of its own counts.
  [
    open('s1'),
    open('s2'),
    serve('s1', 3),
    serve('s2', 3),
    start('s1', '1'),
    start('', '2'),
    start('', '3'),
    start('', '4'),
    start('', '5'),
  ],
  // None above its concurrency; whoever waits is next when a run ends.
  [open('s1'), serve('s1', 1), start('', '1'), start('', '2'), start('', '3'), report('s1', '1', 'succeeded'), report('s1', '2', 'failed')],
  // One at a time; the status, or none.
  [open('s1'), open('s2'), start('s1', '1', { restart: false }), start('s1', '1'), start('s2', '1'), start('', '1', { restart: false })],
  // Once for each request, however it went.
  [
    open('s1'),
    start('s1', '1', { request: 'r' }),
    start('s1', '1', { request: 'r' }),
    report('s1', '1', 'succeeded'),
    start('s1', '1', { request: 'r' }),
  ],
  // Stale and foreign reports, before the end and after.
  [
    open('s1'),
    open('s2'),
    start('s1', '1'),
    report('s1', '1', 'progress', true),
    report('s2', '1', 'succeeded'),
    report('s1', '1', 'succeeded'),
    report('s1', '1', 'succeeded'),
    report('s1', '1', 'progress'),
    report('s1', '1', 'failed'),
    start('s2', '1'),
    report('s1', '1', 'succeeded'),
  ],
  // Lost with its session, restarted so many times.
  [
    open('s1'),
    start('s1', '1', { retries: 2 }),
    start('s1', '2'),
    advance(TTL_MS),
    open('s2'),
    serve('s2', 1),
    close('s2'),
    open('s3'),
    serve('s3', 1),
    advance(TTL_MS),
    start('', '1', { restart: false }),
  ],
  // Not if it was to be cancelled. A cancel of another run does nothing.
  [
    open('s1'),
    start('s1', '1', { retries: 1 }),
    cancel('1', true),
    cancel('1'),
    report('s1', '1', 'progress'),
    advance(TTL_MS),
    cancel('2'),
  ],
  // Cancelled before anybody took it.
  [start('', '1'), cancel('1'), open('s1'), serve('s1', 1), start('', '2')],
  // Kept for its TTL, counted from the end.
  [
    open('s1'),
    start('s1', '1'),
    advance(600),
    keep('s1'),
    advance(600),
    report('s1', '1', 'succeeded'),
    advance(RESULT_TTL_MS - 1),
    advance(1),
    open('s1'),
    start('s1', '1'),
  ],
  // Nobody comes, and nobody serves.
  [start('', '1', { waitMs: 500 }), advance(499), advance(1), start('', '2', { waitMs: 0 })],
  // Every state is told.
  [open('s1'), start('s1', '1'), ...Array.from({ length: 6 }, () => report('s1', '1', 'progress')), report('s1', '1', 'cancelled')],
  // Who does not serve any more gets nothing new.
  [open('s1'), serve('s1', 2), start('', '1'), { op: 'unserve', sid: 's1' }, start('', '2'), open('s2'), serve('s2', 1)],
];
