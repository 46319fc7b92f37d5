import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { KeepAliveRequest, KeepAliveResponse, SessionState } from '../../clients/typescript/src/gen/stafett/v1/session.js';
import { KeepAlive } from '../../clients/typescript/src/keep-alive.js';
import { SessionLife } from '../../clients/typescript/src/life.js';
import type { Link } from '../../clients/typescript/src/link.js';

/** The server's end of a stream of keepalives, in a time that the test makes. */
class FakeLink {
  readonly requests: KeepAliveRequest[] = [];
  readonly #broken = new AbortController();
  #responses: KeepAliveResponse[] = [];
  #wake = () => {};

  readonly sessions = {
    keepAlive: (requests: AsyncIterable<KeepAliveRequest>) => {
      void this.#read(requests);
      return this.#respond();
    },
  };

  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  break(reason: unknown): void {
    this.#broken.abort(reason);
  }

  respond(response: Partial<KeepAliveResponse>): Promise<void> {
    this.#responses.push({ sequence: 0n, states: [], moving: false, ...response });
    this.#wake();
    return settle();
  }

  /** Confirms everything up to now. */
  async confirm(state: Partial<SessionState> = {}): Promise<void> {
    const { sequence } = this.requests.at(-1) as KeepAliveRequest;
    const states = [{ sessionId: 's', alive: true, expireTime: undefined, revokedLockIds: [], mustAssert: false, ...state }];
    for (let n = 1n; n <= sequence; n++) await this.respond({ sequence: n, states });
  }

  async #read(requests: AsyncIterable<KeepAliveRequest>): Promise<void> {
    for await (const request of requests) this.requests.push(request);
  }

  async *#respond(): AsyncIterable<KeepAliveResponse> {
    while (true) {
      yield* this.#responses.splice(0);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const TTL_MS = 9_000;

let now: number;
let life: SessionLife;
let link: FakeLink;
const events = { onConfirmed: vi.fn(), onRevoked: vi.fn(), onMustAssert: vi.fn(), onMoving: vi.fn() };

beforeEach(async () => {
  vi.resetAllMocks();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  now = 1_000_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  life = new SessionLife({
    id: 's',
    ttlMs: TTL_MS,
    safetyMarginMs: 1_000,
    sentAt: now,
    epoch: 'e',
    onLost: (_, reason) => link.break(reason),
  });
  link = new FakeLink();
  new KeepAlive(link as unknown as Link, life, events).start();
  await settle();
});

afterEach(() => {
  link.break(new Error('over'));
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Promises and ticks have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function pass(ms: number): Promise<void> {
  now += ms;
  vi.advanceTimersByTime(ms);
  await settle();
}

describe('keepalives', () => {
  test('are sent at once and each third of the TTL, with growing sequences', async () => {
    expect(link.requests).toEqual([{ sequence: 1n, sessionIds: ['s'] }]);
    for (let n = 2n; n <= 4n; n++) {
      await link.confirm();
      await pass(TTL_MS / 3);
      expect(link.requests.at(-1)).toEqual({ sequence: n, sessionIds: ['s'] });
    }
  });

  test('move the deadline to the TTL after they were sent, not after they were answered', async () => {
    await link.confirm();
    await pass(3_000);
    now += 40;
    await link.confirm();
    expect(life.remainingMs).toBe(TTL_MS - 1_000 - 40);
    expect(events.onConfirmed).toHaveBeenCalledTimes(2);
  });

  test('one that is not answered before the next is due breaks the link', async () => {
    await pass(3_000);
    expect(link.broken.aborted).toBe(false);
    await pass(50);
    expect(link.broken.reason).toMatchObject({ message: 'a keepalive was not answered in time' });
    expect(life.lost).toBeUndefined();
  });

  test('an answer that a stalled event loop had not read yet is read first', async () => {
    await link.confirm();
    await pass(3_000);
    now += 3_500; // stalled
    vi.advanceTimersByTime(3_000); // the next is due
    await link.confirm(); // read only now
    await pass(50);
    expect(link.broken.aborted).toBe(false);
  });

  test('a session that the server does not know is lost', async () => {
    await link.confirm({ alive: false });
    expect(life.lost?.reason).toBe('SESSION_LOST');
    expect(events.onConfirmed).not.toHaveBeenCalled();
  });

  test('news that the server sends of its own accord confirm nothing', async () => {
    now += 1_000;
    const states = [{ sessionId: 's', alive: true, expireTime: undefined, revokedLockIds: ['s.1'], mustAssert: false }];
    await link.respond({ states });
    await link.respond({ moving: true });
    await link.respond({ states: [{ ...(states[0] as SessionState), sessionId: 'of another' }] });
    expect(events.onRevoked.mock.calls).toEqual([[['s.1']]]);
    expect(events.onMoving).toHaveBeenCalledOnce();
    expect(events.onConfirmed).not.toHaveBeenCalled();
    expect(life.remainingMs).toBe(TTL_MS - 2_000);
  });

  test('end with the link', async () => {
    link.break(new Error('the network failed'));
    await pass(TTL_MS / 3);
    expect(link.requests).toHaveLength(1);
  });
});
