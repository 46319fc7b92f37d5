import { fromPipelineError, StafettError } from './errors.js';
import type { AcquireRequest, AcquireResponse, PipelineCommand, PipelineResult } from './gen/stafett/v1/lock.js';
import type { SessionLife } from './life.js';
import type { Link } from './link.js';
import { Outgoing } from './outgoing.js';

/** Commands in one message. */
const COMMANDS_MAX = 1_000;
/** Commands without an answer yet, those that wait in queues included. */
const PENDING_MAX = 200_000;
const DAY_S = 86_400;

type Command = NonNullable<PipelineCommand['command']>;
type Result = PipelineResult['result'];

interface Pending {
  readonly life: SessionLife;
  /** When to stop waiting for a connection, on the monotonic clock. */
  readonly giveUpAt: number;
  /** Until when an acquire waits, on the monotonic clock; undefined for the others. */
  readonly waitUntil: number | undefined;
  readonly command: Command;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Carries commands to whichever server the client is connected to, and asks again on the next one what was not answered:
 * every command can be repeated, by its `request_id` or `lock_id`.
 */
export class Pipeline {
  readonly #pending = new Map<bigint, Pending>();
  #lastId = 0n;
  #outgoing: Outgoing<PipelineCommand> | undefined;

  /** Uses the link from now on, until that breaks. */
  attach(link: Link): void {
    const outgoing = new Outgoing<PipelineCommand>(COMMANDS_MAX);
    this.#outgoing = outgoing;
    for (const [id, pending] of this.#pending) outgoing.push({ id, command: current(pending) });
    void this.#converse(link, outgoing);
  }

  detach(): void {
    this.#outgoing?.end();
    this.#outgoing = undefined;
  }

  /** @throws the signal's reason after an abort; a grant that is on its way then is given back. */
  acquire(life: SessionLife, request: AcquireRequest, waitUntil: number, giveUpAt: number, signal?: AbortSignal): Promise<AcquireResponse> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#pending.delete(id);
        this.#cancel(life, request.requestId, giveUpAt);
        reject(signal?.reason);
      };
      const settle = <T>(done: (value: T) => void) =>
        signal
          ? (value: T) => {
              signal.removeEventListener('abort', onAbort);
              done(value);
            }
          : done;
      const command: Command = { $case: 'acquire', value: request };
      const answer = settle((result: Result) => resolve((result as { value: AcquireResponse }).value));
      const id = this.#submit({ life, giveUpAt, waitUntil, command, resolve: answer, reject: settle(reject) });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  release(life: SessionLife, lockId: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const command: Command = { $case: 'release', value: { lockId } };
      this.#submit({ life, giveUpAt: Number.POSITIVE_INFINITY, waitUntil: undefined, command, resolve: () => resolve(), reject });
    });
  }

  /** Refuses what waits for the answer to something that this session asked. */
  failAll(life: SessionLife, error: Error): void {
    for (const [id, pending] of this.#pending) {
      if (pending.life === life) this.#fail(id, pending, error);
    }
  }

  /** Refuses what has waited long enough for a connection. */
  sweep(now: number, error: () => Error): void {
    for (const [id, pending] of this.#pending) {
      if (pending.giveUpAt <= now) this.#fail(id, pending, error());
    }
  }

  #cancel(life: SessionLife, requestId: string, giveUpAt: number): void {
    const command: Command = { $case: 'cancel', value: { sessionId: life.id, requestId } };
    this.#submit({ life, giveUpAt, waitUntil: undefined, command, resolve: () => {}, reject: () => {} });
  }

  #submit(pending: Pending): bigint {
    this.#lastId++;
    if (this.#pending.size >= PENDING_MAX) {
      const message = `${PENDING_MAX} commands wait for an answer; ask for fewer locks at once`;
      pending.reject(new StafettError('RESOURCE_EXHAUSTED', 'TOO_MANY_PENDING', message));
    } else if (pending.life.lost) {
      pending.reject(pending.life.lost);
    } else {
      this.#pending.set(this.#lastId, pending);
      this.#outgoing?.push({ id: this.#lastId, command: pending.command });
    }
    return this.#lastId;
  }

  #fail(id: bigint, pending: Pending, error: Error): void {
    this.#pending.delete(id);
    pending.reject(error);
  }

  async #converse(link: Link, outgoing: Outgoing<PipelineCommand>): Promise<void> {
    try {
      for await (const { results } of link.locks.pipeline(requests(outgoing), { signal: link.broken })) {
        for (const result of results) this.#onResult(link, result);
      }
      link.break(new Error('the server ended the pipeline'));
    } catch (error) {
      link.break(error);
    } finally {
      outgoing.end();
    }
  }

  #onResult(link: Link, { id, result }: PipelineResult): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (result?.$case !== 'error') {
      this.#pending.delete(id);
      pending.resolve(result);
      return;
    }
    const error = fromPipelineError(result.value);
    // The server cannot serve it now: the next one may, or this one in a moment. The link goes, the command stays.
    if (error.code === 'UNAVAILABLE') link.break(error);
    else this.#fail(id, pending, error);
  }
}

async function* requests(outgoing: Outgoing<PipelineCommand>) {
  for await (const commands of outgoing.batches()) yield { commands };
}

/** The command as it is to be asked again: an acquire waits for what is left of its time. */
function current({ command, waitUntil }: Pending): Command {
  if (command.$case !== 'acquire' || waitUntil === undefined) return command;
  return { $case: 'acquire', value: { ...command.value, waitTimeout: toWait(waitUntil) } };
}

/** How long an acquire is to wait; the server's limit is a day. */
export function toWait(waitUntil: number): { seconds: bigint; nanos: number } {
  const ms = Math.max(0, Math.min(waitUntil - performance.now(), DAY_S * 1000));
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.floor((ms - seconds * 1000) * 1e6) };
}
