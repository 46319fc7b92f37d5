import { Packr } from 'msgpackr';
import { decodeBatch, decodeMessage, encodeBatch } from '../../server/src/engine/codec.js';
import type { BatchReply, Command, EngineEvent, EngineLimits } from '../../server/src/engine/commands.js';
import { epochPrefix, gateKey, serverChannel } from '../../server/src/redis/keys.js';
import { loadLibrary } from '../../server/src/redis/scripts.js';
import { startRedis, type TestRedis } from './redis.js';

/** A change to the library's source. Its place must be found exactly so many times, by default once. */
export interface Patch {
  readonly find: string | RegExp;
  readonly replace: string;
  readonly times?: number;
}

export interface HarnessLimits extends EngineLimits {
  /** Names that one call gives back at the most for ended sessions. */
  readonly expireBudget: number;
}

/** What can be seen at one place does not fit with what can be seen at another. */
export class Mismatch extends Error {}

/** What one call did, as far as it can be seen from outside. */
export interface Observed extends BatchReply {
  /** Server -> what it was told, by its outbox and by pub/sub alike. Without the asking one. */
  readonly foreign: ReadonlyMap<string, readonly EngineEvent[]>;
  /** What the namespace counts. */
  readonly counts: { readonly held: number; readonly waiting: number };
}

const EPOCH = 'first';
const RUN = 'run';
export const NAMESPACE = epochPrefix('model', EPOCH);
const GATE = gateKey('model');
export const SERVERS = ['server-1', 'server-2', 'server-3'] as const;

const CLOCK_KEY = 'test:clock';
const CLOCK: Patch = { find: `call('TIME')`, replace: `call('HMGET', '${CLOCK_KEY}', 's', 'us')`, times: 2 };
/** One more function: sets the clock, makes the call, and looks at what it left behind, in one step. */
const OBSERVED_CALL = `
redis.register_function('observed_call', function(keys, args)
  redis.call('HSET', '${CLOCK_KEY}', 's', args[2], 'us', args[3])
  local observed = {run({keys[1], keys[2]}, {args[1]})}
  local counts = redis.call('HGET', keys[2], 's')
  local _, held, waiting = struct.unpack(COUNTS, counts or struct.pack(COUNTS, 0, 0, 0, 0, 0))
  observed[2], observed[3] = held, waiting
  for i = 4, #args do observed[i] = redis.call('LRANGE', keys[1] .. 'outbox:' .. args[i], 0, -1) end
  return observed
end)
`;
const LIBRARY_URL = new URL('../../server/src/engine/scripts/engine.lua', import.meta.url);

const packr = new Packr({ useRecords: false, int64AsType: 'number', encodeUndefinedAsNil: true });

export function applyPatch(source: string, { find, replace, times = 1 }: Patch): string {
  const parts = source.split(find);
  if (parts.length !== times + 1) throw new Error(`expected to find this ${times} times, and found it ${parts.length - 1} times: ${find}`);
  return parts.join(replace);
}

/** The engine's library with a clock that stands until the test moves it, and with more changes if wanted. */
function testLibrary(patches: readonly Patch[]): string {
  return [CLOCK, ...patches].reduce(applyPatch, loadLibrary(LIBRARY_URL, 'model').source) + OBSERVED_CALL;
}

/** The lock engine alone: its library in a real Redis, called as servers call it, in a time that the test makes. */
export class EngineHarness {
  /** The time by Redis' clock, for all calls from now on. */
  nowUs = 0;
  readonly #redis;
  readonly #subscriber;
  /** What each server has not fetched yet, as messages. */
  readonly #outboxes = new Map<string, Buffer[]>();
  #published = new Map<string, Buffer[]>();

  static async start(patches: readonly Patch[] = []): Promise<EngineHarness> {
    const harness = new EngineHarness(await startRedis());
    await harness.load(patches);
    return harness;
  }

  private constructor(redis: TestRedis) {
    this.#redis = redis.client();
    this.#subscriber = redis.client();
  }

  /** Loads the library with these changes instead of the one before. */
  async load(patches: readonly Patch[]): Promise<void> {
    await this.#redis.call('FUNCTION', 'LOAD', 'REPLACE', testLibrary(patches));
    if (this.#subscriber.listenerCount('messageBuffer') > 0) return;
    this.#subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => push(this.#published, channel.toString(), message));
    await this.#subscriber.subscribe(...SERVERS.map(serverChannel));
  }

  /** Empties Redis, and sets the clock. */
  async reset(nowUs: number): Promise<void> {
    await this.#redis.flushall();
    await this.setEpoch({ grace: 0 });
    await this.#subscriber.ping();
    this.#outboxes.clear();
    this.#published.clear();
    this.nowUs = nowUs;
  }

  /** What the gate says. */
  async setEpoch({ id = EPOCH, run = RUN, grace }: { id?: string; run?: string; grace: number }): Promise<void> {
    await this.#redis.hset(GATE, { id, run, grace });
  }

  async call(server: string, commands: readonly Command[], limits: HarnessLimits, seen = 0): Promise<Observed> {
    const pass = { epoch: EPOCH, run: RUN, expected: 0, toleranceMs: 0 };
    const request = packr.unpack(encodeBatch({ serverId: server, seen, limits, commands, pass })) as [string, number, number[]];
    request[2][4] = limits.expireBudget;
    const answer = await this.#observedCall(packr.pack(request));
    const [reply, held, waiting, ...outboxes] = answer;
    if (commands.some(([verb]) => verb === 'drain')) this.#outboxes.delete(server);
    const decoded = decodeBatch(reply, commands);
    if ('mistaken' in decoded) throw new Mismatch(`the engine takes the epoch or the time for another: ${decoded.mistaken}`);
    return {
      ...decoded,
      foreign: await this.#foreign(outboxes),
      counts: { held, waiting },
    };
  }

  /** The reply to a request as a server packs it. */
  async callRaw(request: Buffer): Promise<Buffer> {
    return (await this.#observedCall(request))[0];
  }

  async #observedCall(request: Buffer): Promise<[Buffer, number, number, ...Buffer[][]]> {
    const args = [request, Math.floor(this.nowUs / 1e6), this.nowUs % 1e6, ...SERVERS];
    const answer = await this.#redis.callBuffer('FCALL', 'observed_call', '2', NAMESPACE, GATE, ...args);
    return answer as [Buffer, number, number, ...Buffer[][]];
  }

  /** What the server has not fetched, and what it has: as the engine itself would put it. */
  undrained(server: string): EngineEvent[] {
    return (this.#outboxes.get(server) ?? []).flatMap((message) => decodeMessage(message)[1]);
  }

  /** The namespace's keys that do not end by themselves. */
  async lastingKeys(): Promise<string[]> {
    const keys = (await this.#redis.keys('*')).filter((key) => key !== CLOCK_KEY && key !== GATE);
    const ttls = await Promise.all(keys.map((key) => this.#redis.pttl(key)));
    return keys.filter((_, i) => (ttls[i] as number) < 0).sort();
  }

  async #foreign(outboxes: readonly Buffer[][]): Promise<Map<string, EngineEvent[]>> {
    const told = new Map<string, Buffer[]>();
    for (const [i, server] of SERVERS.entries()) {
      const known = this.#outboxes.get(server) ?? [];
      const messages = outboxes[i] as Buffer[];
      if (!sameMessages(messages.slice(0, known.length), known)) throw new Mismatch(`the outbox of ${server} lost what was in it`);
      if (messages.length > known.length) told.set(server, messages.slice(known.length));
      if (messages.length > 0) this.#outboxes.set(server, messages);
    }
    if (told.size > 0) await this.#subscriber.ping(); // by now it has heard of everything
    for (const server of SERVERS) {
      const heard = this.#published.get(serverChannel(server)) ?? [];
      if (!sameMessages(heard, told.get(server) ?? [])) throw new Mismatch(`what was published for ${server} is not what its outbox got`);
    }
    this.#published = new Map();
    return new Map([...told].map(([server, messages]) => [server, messages.flatMap(eventsOf)]));
  }
}

function eventsOf(message: Buffer): EngineEvent[] {
  const [prefix, events] = decodeMessage(message);
  if (prefix !== NAMESPACE) throw new Mismatch(`an event of another namespace: ${prefix}`);
  return events;
}

function sameMessages(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((message, i) => message.equals(b[i] as Buffer));
}

function push<T>(lists: Map<string, T[]>, key: string, item: T): void {
  lists.set(key, [...(lists.get(key) ?? []), item]);
}
