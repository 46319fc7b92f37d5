import type { Duration } from '../../server/src/gen/google/protobuf/duration.js';
import type { KeepAliveRequest, KeepAliveResponse, Session, SessionServiceClient } from '../../server/src/gen/stafett/v1/session.js';
import { toMs } from './stub-duration.js';
import { StubOutbox } from './stub-outbox.js';

type Connection = { readonly sessions: SessionServiceClient };

/** One KeepAlive stream. */
export class StubKeepAlives {
  /** Whatever the server said, in order. */
  readonly responses: KeepAliveResponse[] = [];
  /** How the stream ended: undefined for OK. */
  readonly ended: Promise<unknown>;
  readonly #outbox = new StubOutbox<KeepAliveRequest>();
  readonly #abort = new AbortController();
  readonly #waiting = new Map<bigint, { resolve(response: KeepAliveResponse): void; reject(error: unknown): void }>();
  #sequence = 0n;

  constructor({ sessions }: Connection) {
    this.ended = this.#read(sessions);
  }

  /** Sends one and resolves with its answer. */
  send(...sessionIds: string[]): Promise<KeepAliveResponse> {
    const sequence = ++this.#sequence;
    return new Promise((resolve, reject) => {
      this.#waiting.set(sequence, { resolve, reject });
      this.#outbox.push({ sequence, sessionIds });
    });
  }

  end(): void {
    this.#outbox.end();
  }

  break(): void {
    this.#abort.abort();
  }

  async #read(sessions: SessionServiceClient): Promise<unknown> {
    let failure: unknown;
    try {
      for await (const response of sessions.keepAlive(this.#outbox, { signal: this.#abort.signal })) {
        this.responses.push(response);
        this.#waiting.get(response.sequence)?.resolve(response);
        this.#waiting.delete(response.sequence);
      }
    } catch (error) {
      failure = error;
    }
    for (const { reject } of this.#waiting.values()) reject(failure ?? new Error('the KeepAlive stream has ended'));
    return failure;
  }
}

/** A session, and what keeps it alive. */
export class StubSession {
  readonly id: string;
  readonly ttlMs: number;
  /** Everything that the server said on the KeepAlive streams of this session. */
  readonly streams: StubKeepAlives[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    /** As it was opened. */
    readonly opened: Session,
    readonly interval: Duration,
  ) {
    this.id = opened.sessionId;
    this.ttlMs = toMs(opened.ttl);
  }

  /** Keeps it alive over this client from now on, which may be connected to another server than the one before. */
  keepAlive(client: Connection): StubKeepAlives {
    this.stop();
    const stream = new StubKeepAlives(client);
    this.streams.push(stream);
    const send = () => void stream.send(this.id).catch(() => {});
    send();
    this.#timer = setInterval(send, toMs(this.interval)).unref();
    return stream;
  }

  /** Stops to keep it alive, as if the client had crashed. */
  stop(): void {
    clearInterval(this.#timer);
    this.streams.at(-1)?.break();
  }

  /** The locks that the server said were taken away. */
  revoked(): string[] {
    const states = this.streams.flatMap(({ responses }) => responses).flatMap((response) => response.states);
    return states.filter(({ sessionId }) => sessionId === this.id).flatMap(({ revokedLockIds }) => revokedLockIds);
  }
}
