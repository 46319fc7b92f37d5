import type { ServeInstanceRequest, ServeInstanceResponse } from '../gen/stafett/v1/instance.js';
import { invalidField } from '../rpc/errors.js';
import { toDuration } from '../rpc/fields.js';
import { WINDOW_BYTES } from './limits.js';
import { callAlreadyRunning, callNotAllowed, callNotFound, instanceLost, tooManyCalls } from './refusals.js';
import type { InstanceRecord } from './registration.js';
import type { CallPlan } from './running-call.js';
import { ServedCall } from './served-call.js';

export interface ServedInstanceOptions {
  readonly instanceId: string;
  readonly record: InstanceRecord;
  readonly maxCalls: number;
  readonly allowPrivileged: boolean;
}

/** One instance whose stream this server has: hands calls to it, and what it says to the calls. */
export class ServedInstance {
  readonly instanceId: string;
  readonly #options: ServedInstanceOptions;
  readonly #calls = new Map<bigint, ServedCall>();
  #outbox: ServeInstanceResponse[] = [];
  #lastId = 0n;
  #ended = false;
  #left = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(options: ServedInstanceOptions) {
    this.#options = options;
    this.instanceId = options.instanceId;
    this.#send({ callId: 0n, message: { $case: 'registered', value: { instanceId: this.instanceId } } });
  }

  /** It ended the stream by itself: it does not want to be called any more. */
  get left(): boolean {
    return this.#left;
  }

  /** @throws {StafettError} CALL_NOT_FOUND, CALL_NOT_ALLOWED, CALL_ALREADY_RUNNING, TOO_MANY_CALLS */
  call({ name, params, timeoutMs, readOnly }: CallPlan): ServedCall {
    this.#checkCall(name);
    const id = ++this.#lastId;
    const call = new ServedCall({
      id,
      instanceId: this.instanceId,
      name,
      send: (message) => this.#send(message),
      onEnd: () => this.#calls.delete(id),
    });
    this.#calls.set(id, call);
    const timeout = timeoutMs === undefined ? undefined : toDuration(timeoutMs);
    this.#send({ callId: id, message: { $case: 'call', value: { name, params, creditBytes: BigInt(WINDOW_BYTES), timeout, readOnly } } });
    return call;
  }

  /** Asks the instance to go to another server. */
  move(): void {
    this.#send({ callId: 0n, message: { $case: 'moving', value: {} } });
  }

  /** What it is told, until its side or ours ends. */
  async *responses(requests: AsyncIterable<ServeInstanceRequest>, signal: AbortSignal): AsyncIterable<ServeInstanceResponse> {
    const onAbort = () => this.end();
    signal.addEventListener('abort', onAbort);
    void this.#read(requests, signal);
    try {
      while (!signal.aborted) {
        const responses = this.#outbox;
        this.#outbox = [];
        yield* responses;
        if (this.#outbox.length > 0) continue;
        if (this.#failure) throw this.#failure;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.end();
    }
  }

  /** Calls under way are lost. */
  end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    for (const call of [...this.#calls.values()]) call.fail(instanceLost(this.instanceId, 'the connection to the instance is gone'));
    this.#wake();
  }

  async #read(requests: AsyncIterable<ServeInstanceRequest>, signal: AbortSignal): Promise<void> {
    try {
      for await (const { callId, message } of requests) {
        if (!message) throw invalidField('message', 'is missing, or of a kind that this server does not know');
        if (message.$case === 'register') throw invalidField('register', 'is only for the first message');
        this.#calls.get(callId)?.accept(message); // else: of a call that was cancelled meanwhile
      }
      this.#left = !signal.aborted;
      this.end();
    } catch (error) {
      this.end(error as Error);
    }
  }

  #checkCall(name: string): void {
    const { record, maxCalls, allowPrivileged } = this.#options;
    const description = record.calls.find((each) => each.name === name);
    if (!description) {
      throw callNotFound(
        this.instanceId,
        name,
        record.calls.map((each) => each.name),
      );
    }
    if (description.privileged && !allowPrivileged) throw callNotAllowed(name);
    if (description.exclusive && [...this.#calls.values()].some((call) => call.name === name)) {
      throw callAlreadyRunning(this.instanceId, name);
    }
    if (this.#calls.size < maxCalls) return;
    throw tooManyCalls(`instance ${this.instanceId} answers ${maxCalls} calls already; try again when some have ended`);
  }

  #send(message: ServeInstanceResponse): void {
    if (this.#ended) return;
    this.#outbox.push(message);
    this.#wake();
  }
}
