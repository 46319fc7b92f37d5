import { sessionLost } from './errors.js';
import type { KeepAliveRequest, KeepAliveResponse } from './gen/stafett/v1/session.js';
import type { SessionLife } from './life.js';
import type { Link } from './link.js';
import { Outgoing } from './outgoing.js';

/** Keepalives in one TTL. One that is not answered before the next is due ends the link. */
const PER_TTL = 3;
/** An answer that is there already may have to wait for a stalled event loop; it is read within so many ms. */
const READ_MS = 50;

export interface KeepAliveEvents {
  /** The server confirmed the session: for the first time on this link, or again. */
  onConfirmed(): void;
  /** Locks were taken away by force. Each is told again until it is released. */
  onRevoked(lockIds: readonly string[]): void;
  /** Redis lost its data, and the session with it; told again until the session is asserted. */
  onMustAssert(): void;
  /** The server is about to stop. */
  onMoving(): void;
}

/** Keeps a session alive over one link, until that breaks. */
export class KeepAlive {
  readonly #outgoing = new Outgoing<KeepAliveRequest>({ itemsMax: 1, weightMax: 1, weigh: () => 1 });
  readonly #sentAt = new Map<bigint, number>();
  #sequence = 0n;
  #timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly link: Link,
    private readonly life: SessionLife,
    private readonly events: KeepAliveEvents,
  ) {}

  start(): void {
    void this.#converse();
    this.#send();
    this.#timers = [setInterval(() => this.#beat(), this.life.ttlMs / PER_TTL)];
    this.link.broken.addEventListener('abort', () => {
      for (const timer of this.#timers) clearTimeout(timer);
      this.#outgoing.end();
    });
  }

  #beat(): void {
    const [oldest] = this.#sentAt.keys();
    this.#send();
    if (oldest === undefined || this.link.broken.aborted) return;
    this.#timers[1] = setTimeout(() => {
      if (this.#sentAt.has(oldest)) this.link.break(new Error('a keepalive was not answered in time'));
    }, READ_MS);
  }

  #send(): void {
    if (this.life.lost) return; // which ends the link as well
    this.#sequence++;
    this.#sentAt.set(this.#sequence, performance.now());
    this.#outgoing.push({ sequence: this.#sequence, sessionIds: [this.life.id] });
  }

  async #converse(): Promise<void> {
    const { link } = this;
    try {
      for await (const response of link.sessions.keepAlive(requests(this.#outgoing), { signal: link.broken })) this.#onResponse(response);
      link.break(new Error('the server ended the stream of keepalives'));
    } catch (error) {
      link.break(error);
    }
  }

  #onResponse({ sequence, states, moving }: KeepAliveResponse): void {
    const sentAt = this.#sentAt.get(sequence);
    this.#sentAt.delete(sequence);
    if (moving) this.events.onMoving();
    const state = states.find(({ sessionId }) => sessionId === this.life.id);
    if (!state) return;
    if (state.mustAssert) return this.events.onMustAssert();
    if (!state.alive) return this.life.lose(sessionLost('the server does not know it any more'));
    if (state.revokedLockIds.length > 0) this.events.onRevoked(state.revokedLockIds);
    if (sentAt === undefined) return;
    this.life.confirm(sentAt);
    if (!this.life.lost) this.events.onConfirmed();
  }
}

async function* requests(outgoing: Outgoing<KeepAliveRequest>) {
  for await (const [request] of outgoing.batches()) yield request as KeepAliveRequest;
}
