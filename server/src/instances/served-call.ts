import type { CallInstanceResponse, CallProgress, ServeInstanceRequest, ServeInstanceResponse } from '../gen/stafett/v1/instance.js';
import { invalidField } from '../rpc/errors.js';
import { CHUNK_BYTES_MAX, CREDIT_BYTES_MIN, WINDOW_BYTES } from './limits.js';
import { callFailed } from './refusals.js';
import type { RunningCall } from './running-call.js';

type Message = NonNullable<ServeInstanceRequest['message']>;
type Event = NonNullable<CallInstanceResponse['event']>;

export interface ServedCallOptions {
  readonly id: bigint;
  readonly instanceId: string;
  readonly name: string;
  send(message: ServeInstanceResponse): void;
  /** It has ended, in whichever way. */
  onEnd(): void;
}

/** One call, on the server that has the instance's stream: keeps what came from the instance until the reader takes it. */
export class ServedCall implements RunningCall {
  readonly #options: ServedCallOptions;
  #events: Event[] = [];
  /** The latest one that is not read yet: nobody needs those before it. */
  #progress: CallProgress | undefined;
  /** Bytes of chunks that the instance may still send. */
  #credit = WINDOW_BYTES;
  /** Bytes that were consumed, and of which the instance has not been told. */
  #owed = 0;
  #started = false;
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(options: ServedCallOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** From the instance. @throws {StafettError} INVALID_FIELD if it breaks the rules of the stream. */
  accept(message: Message): void {
    if (message.$case === 'failed') {
      const { instanceId, name } = this.#options;
      this.fail(callFailed(instanceId, name, message.value));
    } else if (message.$case === 'progress') {
      this.#progress = message.value;
    } else if (message.$case !== 'register') {
      this.#check(message);
      this.#events.push(message);
      if (message.$case === 'finished') this.#end();
    }
    this.#wake();
  }

  async *events(): AsyncGenerator<CallInstanceResponse, void, undefined> {
    while (true) {
      const progress = this.#progress;
      this.#progress = undefined;
      if (progress) yield { event: { $case: 'progress', value: progress } };
      const event = this.#events.shift();
      if (event) yield { event };
      else if (this.#failure) throw this.#failure;
      else if (this.#ended) return;
      else if (!this.#progress) await this.#somethingNew();
    }
  }

  consumed(bytes: number): void {
    this.#owed += bytes;
    if (this.#ended || this.#owed < CREDIT_BYTES_MIN) return;
    this.#credit += this.#owed;
    this.#options.send({ callId: this.#options.id, message: { $case: 'creditBytes', value: BigInt(this.#owed) } });
    this.#owed = 0;
  }

  stop(reason: string, error?: Error): void {
    if (this.#ended) return;
    this.#options.send({ callId: this.#options.id, message: { $case: 'cancel', value: { reason } } });
    this.#events = [];
    this.#failure = error;
    this.#end();
  }

  /** There is nothing more to come. What came already is still read. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.#options.onEnd();
    this.#wake();
  }

  #check(message: Exclude<Message, { $case: 'failed' | 'progress' | 'register' }>): void {
    if (message.$case === 'started') {
      if (this.#started) throw invalidField('started', 'was told before, or after the first chunk');
      this.#started = true;
    }
    if (message.$case !== 'chunk') return;
    const { length } = message.value;
    this.#started = true;
    if (length > CHUNK_BYTES_MAX) throw invalidField('chunk', `${length} bytes; at most ${CHUNK_BYTES_MAX} are allowed`);
    if (length > this.#credit) throw invalidField('chunk', `${length} bytes, with a credit of ${this.#credit}`);
    this.#credit -= length;
  }

  #somethingNew(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
