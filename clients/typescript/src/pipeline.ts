import { toProtoDuration } from './durations.js';
import { fromPipelineError, StafettError } from './errors.js';
import { fold } from './folding.js';
import type { AcquireRequest, AcquireResponse, DoneRun, GrantRun, PipelineCommand, PipelineResult } from './gen/stafett/v1/lock.js';
import type { SessionLife } from './life.js';
import type { Link } from './link.js';
import { type Numbered, Ring } from './numbered.js';
import { Outgoing } from './outgoing.js';
import type { Times } from './waiting-room.js';
import { weigh } from './weigh.js';

/** Commands in one message; the server's own limit. */
const COMMANDS_MAX = 1_000;
/** Bytes in one message, estimated from above: a server may be told to accept no more than 64 KiB. */
const MESSAGE_BYTES_MAX = 60_000;
/** Acquires without an answer yet, those that wait in queues included. Servers accept twice as many commands by default. */
const ACQUIRES_MAX = 100_000;
/** The longest wait that servers accept. */
const WAIT_MS_MAX = 24 * 60 * 60 * 1_000;
const LONGEST_WAIT = toProtoDuration(WAIT_MS_MAX);

type Command = NonNullable<PipelineCommand['command']>;
type Result = NonNullable<PipelineResult['result']>;

/** Something that was asked and is not answered. */
interface Pending extends Numbered {
  readonly life: SessionLife;
  readonly command: Command;
  /** Of an acquire. Undefined for what takes something back. */
  readonly times: Times | undefined;
  /** How often it was on its way to a server. Then it may have been carried out, even if it was not answered. */
  sent: number;
  resolve(result: Result | undefined): void;
  reject(error: unknown): void;
}

/**
 * Carries commands to whichever server the client is connected to, and asks again on the next one what was not answered:
 * every command can be repeated, by its `request_id` or `lock_id`.
 */
export class Pipeline {
  /** By the number of the command, its id. */
  readonly #pending = new Ring<Pending>();
  #acquires = 0;
  #outgoing: Outgoing<Pending> | undefined;
  #paused = false;

  /** How many acquires wait for an answer. */
  get acquires(): number {
    return this.#acquires;
  }

  /** Uses the link from now on, until that breaks. */
  attach(link: Link): void {
    const outgoing = new Outgoing<Pending>({ itemsMax: COMMANDS_MAX, weightMax: MESSAGE_BYTES_MAX, weigh });
    this.#outgoing = outgoing;
    this.#paused = false;
    // What takes back goes first: it makes room for what asks, at the locks and within the server's limit for a stream.
    const pending = this.#pending.all();
    for (const each of pending) if (!each.times) this.#send(each);
    for (const each of pending) if (each.times) this.#send(each);
    this.#converse(link, outgoing);
  }

  /** Sends nothing more before `resume`. */
  pause(): void {
    this.#paused = true;
  }

  /** Sends what was asked meanwhile. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const pending of this.#pending.all()) if (pending.sent === 0) this.#send(pending);
  }

  /** Without a link, what was asked waits for the next one; but nobody waits for what is only a confirmation. */
  detach(): void {
    this.#outgoing?.end();
    this.#outgoing = undefined;
    for (const pending of this.#pending.all()) if (!pending.times) pending.resolve(undefined);
  }

  /**
   * @param request its `wait_timeout` is set each time it is sent.
   * @throws the signal's reason after an abort; what the server makes of the acquire is taken back then.
   */
  acquire(life: SessionLife, request: AcquireRequest, times: Times, signal?: AbortSignal): Promise<AcquireResponse> {
    return new Promise((resolve, reject) => {
      if (this.#acquires >= ACQUIRES_MAX) throw tooManyPending();
      const answer = (result: Result | undefined) => resolve((result as Result & { $case: 'acquire' }).value);
      const command: Command = { $case: 'acquire', value: request };
      const pending: Pending = { number: 0, life, command, times, sent: 0, resolve: answer, reject };
      this.#acquires++;
      this.#submit(pending);
      if (signal) this.#giveUpWhen(signal, pending);
    });
  }

  /**
   * Resolves when the server has confirmed it; without a connection, or when that breaks, at once: it is carried out later,
   * unless the session ends before.
   * @throws {StafettError} LOCK_NOT_HELD.
   */
  release(life: SessionLife, lockId: string): Promise<unknown> {
    return this.#takeBack(life, { $case: 'release', value: { lockId } });
  }

  /** Ends what was asked for this session: nothing of it is held, and so nothing needs to be taken back. */
  failAll(life: SessionLife, error: Error): void {
    for (const pending of this.#pending.all()) {
      if (pending.life !== life) continue;
      this.#forget(pending);
      if (!pending.times) pending.resolve(undefined);
      else pending.reject(error);
    }
  }

  /** Gives up acquires that have waited too long for a connection. */
  sweep(isTooLate: (times: Times) => boolean, error: () => Error): void {
    for (const pending of this.#pending.all()) if (pending.times && isTooLate(pending.times)) this.#giveUp(pending, error());
  }

  #giveUpWhen(signal: AbortSignal, pending: Pending): void {
    const { resolve, reject } = pending;
    const onAbort = () => this.#giveUp(pending, signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const settled = <T>(settle: (value: T) => void) => {
      return (value: T) => {
        signal.removeEventListener('abort', onAbort);
        settle(value);
      };
    };
    pending.resolve = settled(resolve);
    pending.reject = settled(reject);
  }

  /** Whatever a server makes, or has made, of the acquire is taken back: its answer may have been lost on the way. */
  #giveUp(pending: Pending, error: unknown): void {
    this.#forget(pending);
    const { life, command, sent } = pending;
    if (sent > 0 && command.$case === 'acquire') {
      const { sessionId, requestId } = command.value;
      this.#takeBack(life, { $case: 'cancel', value: { sessionId, requestId } }).catch(() => {});
    }
    pending.reject(error);
  }

  /** Never refused, however much there is: each takes back one acquire. */
  #takeBack(life: SessionLife, command: Command): Promise<Result | undefined> {
    return new Promise((resolve, reject) => {
      if (life.lost) return resolve(undefined);
      this.#submit({ number: 0, life, command, times: undefined, sent: 0, resolve, reject });
      if (!this.#outgoing) resolve(undefined);
    });
  }

  #submit(pending: Pending): void {
    this.#pending.add(pending);
    this.#send(pending);
  }

  #send(pending: Pending): void {
    if (!this.#outgoing || this.#paused) return;
    const { command, times } = pending;
    pending.sent++;
    // An acquire that is asked again waits for what is left of its time.
    if (command.$case === 'acquire' && times) command.value.waitTimeout = toWait(times.waitUntil);
    this.#outgoing.push(pending);
  }

  #forget(pending: Pending): void {
    if (this.#pending.delete(pending) && pending.times) this.#acquires--;
  }

  #converse(link: Link, outgoing: Outgoing<Pending>): void {
    let makeRoom = () => {};
    const write = link.pipeline({
      onResponse: ({ results, granted, released }) => {
        for (const { id, result } of results) this.#onResult(link, Number(id), result);
        for (const run of released) this.#onReleased(link, run);
        for (const run of granted) this.#onGranted(link, run);
      },
      onRoom: () => makeRoom(),
      onEnd: (reason) => {
        outgoing.end();
        link.break(reason);
      },
    });
    makeRoom = outgoing.pourInto((asked) => write({ commands: fold(asked) }));
  }

  #onResult(link: Link, number: number, result: Result | undefined): void {
    const pending = this.#pending.get(number);
    if (!pending || !result || link.broken.aborted) return;
    if (result.$case === 'error') return this.#onError(link, pending, fromPipelineError(result.value));
    this.#forget(pending);
    pending.resolve(result);
  }

  #onGranted(link: Link, { id, offsets, firstFencingToken, tokenOffsets, acquireTime, expireTime, epoch }: GrantRun): void {
    const first = Number(id);
    for (const [i, offset] of offsets.entries()) {
      const pending = this.#pending.get(first + offset);
      if (pending?.command.$case !== 'acquire' || link.broken.aborted) continue;
      const { names, sessionId, requestId } = pending.command.value;
      const fencingToken = firstFencingToken + BigInt(tokenOffsets[i] ?? 0);
      const grant = { lockId: `${sessionId}.${requestId}`, names, fencingToken, acquireTime, expireTime, ttl: undefined, epoch };
      this.#forget(pending);
      pending.resolve({ $case: 'acquire', value: { outcome: { $case: 'grant', value: grant } } });
    }
  }

  #onReleased(link: Link, { id, offsets }: DoneRun): void {
    const first = Number(id);
    for (const offset of offsets) {
      const pending = this.#pending.get(first + offset);
      if (!pending || link.broken.aborted) continue;
      this.#forget(pending);
      pending.resolve(RELEASED);
    }
  }

  #onError(link: Link, pending: Pending, error: StafettError): void {
    const mustGetThrough = !pending.times && error.retryDelayMs !== undefined;
    // The server cannot serve it now: the next one may, or this one in a moment. The link goes, the command stays.
    const elsewhere = error.code === 'UNAVAILABLE' && error.reason !== 'GRACE_PERIOD'; // which is the same everywhere
    if (elsewhere || mustGetThrough) return link.break(error);
    // A server that has no room for it does not look whether it has a place in the queue by an earlier link.
    if (error.code === 'RESOURCE_EXHAUSTED' && pending.sent > 1) return this.#giveUp(pending, error);
    this.#forget(pending);
    pending.reject(error);
  }
}

const RELEASED: Result = { $case: 'release', value: {} };

/** How long an acquire is to wait. */
function toWait(waitUntil: number) {
  if (waitUntil === Number.POSITIVE_INFINITY) return LONGEST_WAIT;
  return toProtoDuration(Math.max(0, Math.min(waitUntil - performance.now(), WAIT_MS_MAX)));
}

function tooManyPending(): StafettError {
  const message = `${ACQUIRES_MAX} acquires of this client wait for an answer; ask for fewer locks at once`;
  return new StafettError('RESOURCE_EXHAUSTED', 'TOO_MANY_PENDING', message, { retryDelayMs: 1_000 });
}
