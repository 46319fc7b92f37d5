import { randomBytes } from 'node:crypto';
import type { Connection } from './connection.js';
import { StafettError } from './errors.js';
import { type Position, toPosition } from './event-views.js';
import type { PublishRequest, PublishResponse } from './gen/stafett/v1/event.js';

/** Publications, and bytes of their data, in one message. */
const BATCH_MAX = 1_000;
const BATCH_CHARS_MAX = 300_000;
/** Publications, and characters, that wait for an answer. */
const PENDING_MAX = 100_000;
const PENDING_CHARS_MAX = 256 * 1024 * 1024;

/** What became of a publication. */
export interface Published {
  /** Its place; undefined if the channel keeps no history. */
  readonly position: Position | undefined;
  /** It had been published before, by its `idempotencyKey`. */
  readonly duplicate: boolean;
}

interface Pending {
  readonly request: PublishRequest;
  resolve(published: Published): void;
  reject(error: unknown): void;
}

/**
 * Sends publications in their order: one message after the other, each with all that has come together while the last one was under
 * way. Each has an idempotency key, so that a message may be sent again, to any server.
 */
export class Publisher {
  readonly #connection: Connection;
  readonly #id = randomBytes(9).toString('base64url');
  #count = 0;
  #pending: Pending[] = [];
  #chars = 0;
  #isSending = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  publish(request: PublishRequest): Promise<Published> {
    if (this.#pending.length >= PENDING_MAX || this.#chars >= PENDING_CHARS_MAX) return Promise.reject(tooManyPending());
    this.#count++;
    const idempotencyKey = request.idempotencyKey || `${this.#id}-${this.#count.toString(36)}`;
    this.#chars += request.data.length;
    return new Promise((resolve, reject) => {
      this.#pending.push({ request: { ...request, idempotencyKey }, resolve, reject });
      if (!this.#isSending) void this.#send();
    });
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    await Promise.resolve(); // for what else is published in this tick
    while (this.#pending.length > 0) {
      let batch = this.#take();
      while (batch.length > 0) batch = await this.#sendBatch(batch);
    }
    this.#isSending = false;
  }

  #take(): Pending[] {
    let end = 0;
    for (let chars = 0; end < this.#pending.length && end < BATCH_MAX; end++) {
      chars += this.#pending[end]?.request.data.length ?? 0;
      if (chars > BATCH_CHARS_MAX && end > 0) break;
    }
    const batch = this.#pending.splice(0, end);
    for (const { request } of batch) this.#chars -= request.data.length;
    return batch;
  }

  /** @returns what is to be sent again: the others, if one of them was refused before any was published */
  async #sendBatch(batch: readonly Pending[]): Promise<Pending[]> {
    const publications = batch.map(({ request }) => request);
    try {
      const answer = await this.#connection.call((link, signal) => link.events.publishBatch({ publications }, { signal }));
      batch.forEach((pending, i) => pending.resolve(toPublished(answer.publications[i])));
      return [];
    } catch (cause) {
      const error = StafettError.from(cause);
      const [, index, field] = /^publications\[(\d+)\]\.(.*)$/.exec(error.metadata.field ?? '') ?? [];
      if (index === undefined) {
        for (const { reject } of batch) reject(error);
        return [];
      }
      batch[Number(index)]?.reject(inFieldOf(error, field as string));
      return batch.filter((_, i) => i !== Number(index));
    }
  }
}

/** As if it had been published alone. */
function inFieldOf({ code, reason, message, cause }: StafettError, field: string): StafettError {
  return new StafettError(code, reason, message.replace(/^publications\[\d+\]\./, ''), { cause, metadata: { field } });
}

export function toPublished(response: PublishResponse | undefined): Published {
  return { position: response?.position && toPosition(response.position), duplicate: response?.duplicate ?? false };
}

function tooManyPending(): StafettError {
  const message = `${PENDING_MAX} publications, or ${PENDING_CHARS_MAX} characters of them, wait to be sent; wait for some of them`;
  return new StafettError('RESOURCE_EXHAUSTED', 'TOO_MANY_PENDING', message, { retryDelayMs: 1_000 });
}
