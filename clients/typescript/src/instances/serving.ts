import { backoffMs } from '../backoff.js';
import type { Connection } from '../connection.js';
import { fromProtoDuration } from '../durations.js';
import { StafettError } from '../errors.js';
import type { Registration, ServeInstanceRequest, ServeInstanceResponse } from '../gen/stafett/v1/instance.js';
import type { Link } from '../link.js';
import { Outgoing } from '../outgoing.js';
import { Answer } from './answer.js';
import { type CallOffer, CallRefusal, readOnlyRefusal } from './handler.js';

/** Handlers that run at once, also those that have not noticed yet that nobody wants their answer. */
const HANDLERS_MAX = 200;

export interface ServingOptions {
  readonly connection: Connection;
  readonly registration: Omit<Registration, 'sessionId'>;
  readonly offers: ReadonlyMap<string, CallOffer>;
  readonly signal: AbortSignal;
}

/** Keeps this process listed, and answers who calls it, over however many connections it takes. */
export class Serving {
  /** Resolves when it is listed for the first time. */
  readonly registered: Promise<void>;
  readonly #options: ServingOptions;
  /** How many handlers of each name run. */
  readonly #handlers = new Map<string, number>();
  #id = '';
  #onRegistered: () => void = () => {};

  constructor(options: ServingOptions) {
    this.#options = options;
    this.registered = new Promise((resolve) => {
      this.#onRegistered = resolve;
    });
  }

  /** As it is listed, or was last. */
  get id(): string {
    return this.#id;
  }

  /** Until the signal is aborted, or the client closed. @throws {StafettError} what the server refuses for good. */
  async run(): Promise<void> {
    const { connection, signal } = this.#options;
    const patience = { askedAt: performance.now(), waitUntil: Number.POSITIVE_INFINITY };
    for (let failures = 0; !signal.aborted; failures++) {
      const life = await connection.session(patience, signal);
      const link = await connection.link(Number.POSITIVE_INFINITY, signal);
      try {
        await this.#converse(link, life.id, () => {
          failures = 0;
        });
      } catch (cause) {
        if (signal.aborted) return;
        const error = StafettError.from(cause);
        if (!link.broken.aborted && HOPELESS.has(error.code)) throw error;
        if (!link.broken.aborted)
          await connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs: error.retryDelayMs }), signal);
      }
    }
  }

  /** One stream, from its registration to its end. */
  async #converse(link: Link, sessionId: string, onRegistered: () => void): Promise<void> {
    const { registration, signal } = this.#options;
    const outgoing = new Outgoing<ServeInstanceRequest>({ itemsMax: 1, weightMax: 1, weigh: () => 1 });
    const answers = new Map<bigint, Answer>();
    const leave = () => outgoing.end();
    signal.addEventListener('abort', leave);
    outgoing.push({ callId: 0n, message: { $case: 'register', value: { ...registration, sessionId } } });
    try {
      for await (const response of link.instances.serveInstance(requests(outgoing), { signal: link.broken })) {
        if (response.message?.$case === 'registered') onRegistered();
        if (response.message?.$case === 'moving') return;
        this.#onResponse(response, outgoing, answers);
      }
    } finally {
      signal.removeEventListener('abort', leave);
      outgoing.end();
      for (const answer of answers.values()) answer.cancel('the connection to the server is gone');
    }
  }

  #onResponse({ callId, message }: ServeInstanceResponse, outgoing: Outgoing<ServeInstanceRequest>, answers: Map<bigint, Answer>): void {
    switch (message?.$case) {
      case 'registered':
        this.#id = message.value.instanceId;
        return this.#onRegistered();
      case 'creditBytes':
        return answers.get(callId)?.addCredit(Number(message.value));
      case 'cancel':
        return answers.get(callId)?.cancel(message.value.reason);
      case 'call': {
        const { name, params, creditBytes, timeout, readOnly } = message.value;
        const timeoutMs = timeout && fromProtoDuration(timeout);
        const send = (answer: NonNullable<ServeInstanceRequest['message']>) => outgoing.push({ callId, message: answer });
        const answer = new Answer({ name, params, creditBytes: Number(creditBytes), timeoutMs, readOnly, send });
        answers.set(callId, answer);
        void this.#answer(name, answer, readOnly).then(() => answers.delete(callId));
      }
    }
  }

  async #answer(name: string, answer: Answer, readOnly: boolean): Promise<void> {
    const offer = this.#options.offers.get(name);
    const running = this.#handlers.get(name) ?? 0;
    const all = [...this.#handlers.values()].reduce((sum, count) => sum + count, 0);
    if (!offer) return answer.run(() => refuse('CALL_NOT_FOUND', `there is no call ${JSON.stringify(name)}`));
    if (offer.changes && readOnly) return answer.run(() => Promise.reject(readOnlyRefusal()));
    if (offer.exclusive && running > 0) return answer.run(() => refuse('CALL_ALREADY_RUNNING', 'one is enough at a time'));
    if (all >= HANDLERS_MAX) return answer.run(() => refuse('TOO_MANY_CALLS', `${HANDLERS_MAX} handlers run already`));
    this.#handlers.set(name, running + 1);
    await answer.run(offer.handle);
    this.#handlers.set(name, (this.#handlers.get(name) ?? 1) - 1);
  }
}

/** What another attempt would not change. */
const HOPELESS: ReadonlySet<string> = new Set(['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED']);

function refuse(reason: string, message: string): never {
  throw new CallRefusal(reason, message);
}

async function* requests(outgoing: Outgoing<ServeInstanceRequest>) {
  for await (const [request] of outgoing.batches()) yield request as ServeInstanceRequest;
}
