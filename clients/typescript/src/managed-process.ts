import { backoffMs } from './backoff.js';
import type { Connection } from './connection.js';
import { isHopeless, processLeft, StafettError } from './errors.js';
import type { AssignedSlot, JoinProcessResponse, ProcessConfig as ProtoConfig } from './gen/stafett/v1/process.js';
import { Grant } from './grant.js';
import { type JoinFacts, JoinStream } from './join-stream.js';
import type { SessionLife } from './life.js';
import type { Link } from './link.js';
import { type ProcessConfig, type SlotState, toConfigView } from './process-views.js';
import { LinkedSignal } from './signals.js';
import { type WorkerFunction, WorkerSlot } from './worker-slot.js';

/** What this node offers, checked. */
export interface ManagedSettings {
  readonly declared: ProtoConfig;
  readonly capacity: number;
  readonly node: string;
  readonly drainTimeoutMs: number;
  onError(error: StafettError): void;
}

/** A slot that this node has. */
export interface OwnSlot {
  readonly slot: number;
  readonly state: SlotState;
  readonly fencingToken: bigint;
  readonly restarts: number;
  readonly lastError: string | undefined;
}

/**
 * This node's part in a managed process. It joins with each session that the client has, runs the slots that it is given, and
 * gives back those that it is asked for once their workers have stopped.
 */
export class ManagedProcess implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #settings: ManagedSettings;
  readonly #work: WorkerFunction;
  readonly #slots = new Set<WorkerSlot>();
  /** Slots that were given back, as long as servers may still name them. */
  readonly #ended = new Set<string>();
  readonly #over = new AbortController();
  readonly #joined: Promise<void>;
  #onJoined: (error?: unknown) => void = () => {};
  #stream: JoinStream | undefined;
  /** The session with which it has joined, and what it was told last. */
  #life: SessionLife | undefined;
  #assigned: readonly AssignedSlot[] = [];
  #known: ProtoConfig | undefined;
  #capacity: number;
  #stopped: Promise<void> | undefined;
  /** @internal Resolves when the node has left, or cannot join. */
  readonly ended: Promise<void>;

  /** @internal */
  constructor(
    connection: Connection,
    readonly name: string,
    settings: ManagedSettings,
    work: WorkerFunction,
  ) {
    this.#connection = connection;
    this.#settings = settings;
    this.#work = work;
    this.#capacity = settings.capacity;
    this.#joined = new Promise((resolve, reject) => {
      this.#onJoined = (error) => (error ? reject(error) : resolve());
    });
    this.#joined.catch(() => {}); // for those who do not ask
    const forget = connection.onAsserted(() => this.#onAsserted());
    this.ended = this.#maintain().finally(forget);
  }

  /** The newest config that this node has heard of; undefined before it has joined. */
  get config(): ProcessConfig | undefined {
    return this.#known && toConfigView(this.#known);
  }

  /** The slots that this node has, and those that it has lost and whose workers have not stopped yet. */
  get slots(): OwnSlot[] {
    return [...this.#slots].map(({ slot, state, grant, restarts, lastError }) => {
      return { slot, state, fencingToken: grant.fencingToken, restarts, lastError: lastError === '' ? undefined : lastError };
    });
  }

  /** Resolves when it has joined for the first time. @throws {StafettError} what a server says when it refuses the node for good; CLOSED. */
  joined(): Promise<void> {
    return this.#joined;
  }

  /** How many workers this node may run from now on; those that are too many are drained. @throws {TypeError} */
  setCapacity(capacity: number): void {
    checkCapacity(capacity);
    if (this.#stopped) return;
    this.#capacity = capacity;
    this.#stream?.join();
  }

  /**
   * Leaves: no new slots come, the workers are told to stop, and each slot goes to another node as soon as its worker has. Resolves when
   * all have stopped, **however long they take**, and the servers know. Twice is fine.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#leave();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** @internal Workers that have not stopped. */
  get busy(): boolean {
    return this.#slots.size > 0;
  }

  async #leave(): Promise<void> {
    this.#capacity = 0;
    this.#stream?.join();
    while (this.#slots.size > 0) {
      for (const slot of this.#slots) slot.drain();
      await Promise.all([...this.#slots].map(({ ended }) => ended));
      await Promise.resolve(); // those that have ended are forgotten
    }
    this.#stream?.leave();
    const left = () => this.#over.abort(processLeft(this.name)); // with its session
    if (!this.#life || this.#life.lost) left();
    else this.#life.signal.addEventListener('abort', left, { once: true });
    await this.ended;
  }

  /** Joins over each link that the client has, until it has left. */
  async #maintain(): Promise<void> {
    try {
      for (let failures = 0; !this.#over.signal.aborted; failures++) {
        const link = await this.#connection.link(Number.POSITIVE_INFINITY, this.#over.signal);
        const since = performance.now();
        const error = await this.#serve(link);
        if (!error || this.#over.signal.aborted) return;
        if (performance.now() - since > 1_000) failures = 0;
        if (link.broken.aborted) continue;
        this.#settings.onError(error);
        if (isHopeless(error)) throw error;
        await this.#connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs: error.retryDelayMs }), this.#over.signal);
      }
    } catch (error) {
      this.#onJoined(error);
    }
  }

  /** @returns why it is over, or undefined if the node has left. */
  async #serve(link: Link): Promise<StafettError | undefined> {
    const linked = new LinkedSignal(link.broken, this.#over.signal);
    let letOut = () => {};
    try {
      letOut = await this.#connection.joins.enter(linked.signal);
      const life = this.#connection.life as SessionLife;
      if (this.#capacity === 0 && this.#stopped && this.#slots.size === 0 && life !== this.#life) return undefined; // left with its session
      for await (const response of this.#open(life).converse(link, linked.signal)) {
        letOut();
        this.#onResponse(life, response);
      }
      return this.#stopped ? undefined : new StafettError('UNAVAILABLE', 'CONNECTION_FAILED', 'the server ended the stream');
    } catch (cause) {
      return StafettError.from(cause);
    } finally {
      letOut();
      this.#stream = undefined;
      linked.unlink();
    }
  }

  #open(life: SessionLife): JoinStream {
    this.#life = life;
    const stream = new JoinStream(() => this.#facts(life));
    this.#stream = stream;
    for (const slot of this.#slots) if (slot.grant.life === life) stream.report(slot);
    if (this.#stopped && this.#slots.size === 0) stream.leave();
    return stream;
  }

  #facts(life: SessionLife): JoinFacts {
    const { declared, node } = this.#settings;
    return { name: this.name, sessionId: life.id, node, capacity: this.#capacity, declared, known: this.#known };
  }

  #onResponse(life: SessionLife, { slots, config }: JoinProcessResponse): void {
    if (config && config.revision >= (this.#known?.revision ?? 0n)) this.#known = config;
    this.#life = life;
    this.#assigned = slots;
    this.#apply();
    this.#onJoined();
  }

  /** Redis had lost what it knew of the slots; what they were told meanwhile may be carried out now. */
  #onAsserted(): void {
    for (const slot of this.#slots) this.#stream?.report(slot);
    this.#apply();
  }

  /** Does what the servers said last. Not while the session is being asserted: which grants are void is not known then. */
  #apply(): void {
    const life = this.#life;
    if (!life || life.lost || life.epoch === '') return;
    const named = new Set(this.#assigned.map(({ grant }) => grant?.lockId));
    for (const lockId of this.#ended) if (!named.has(lockId)) this.#ended.delete(lockId);
    for (const assigned of this.#assigned) this.#follow(life, assigned);
  }

  #follow(life: SessionLife, { slot, grant: proto, drain }: AssignedSlot): void {
    if (!proto || this.#ended.has(proto.lockId) || !proto.lockId.startsWith(`${life.id}.`)) return;
    const own = [...this.#slots].find(({ grant }) => grant.lockId === proto.lockId);
    if (own && drain) own.drain();
    if (own || proto.epoch !== life.epoch) return; // of another epoch: void
    if (proto.fencingToken > life.highestToken) life.highestToken = proto.fencingToken;
    const grant = new Grant(life, proto, this.#connection.pipeline, { purpose: `worker ${slot} of ${this.name}` });
    if (drain || this.#stopped) {
      this.#ended.add(grant.lockId);
      grant.leave()?.catch(() => {});
    } else this.#start(slot, grant);
  }

  #start(slot: number, grant: Grant): void {
    const worker = new WorkerSlot({
      slot,
      grant,
      work: this.#work,
      drainTimeoutMs: this.#settings.drainTimeoutMs,
      workers: () => this.#known?.workers ?? 0,
      previous: [...this.#slots].findLast((other) => other.slot === slot),
      onChange: (changed) => this.#stream?.report(changed),
    });
    this.#slots.add(worker);
    void worker.ended.then(() => {
      this.#slots.delete(worker);
      this.#ended.add(grant.lockId);
    });
  }
}

const CAPACITY_MAX = 1_000;

/** @throws {TypeError} */
export function checkCapacity(capacity: number): void {
  if (!Number.isInteger(capacity) || capacity < 0 || capacity > CAPACITY_MAX)
    throw new TypeError(`capacity: ${capacity}; must be a whole number from 0 to ${CAPACITY_MAX}`);
}
