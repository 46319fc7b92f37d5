import { backoffMs } from '../backoff.js';
import type { Connection } from '../connection.js';
import { StafettError } from '../errors.js';
import type { RunAssignment, RunCancellation, ServeRunsRequest, ServeRunsResponse } from '../gen/stafett/v1/run.js';
import type { SessionLife } from '../life.js';
import type { Link } from '../link.js';
import { Outgoing } from '../outgoing.js';
import { Execution, type Run } from './execution.js';

/** Ended runs that are remembered, so that an assignment that crossed the end on its way is not run again. */
const ENDED_MAX = 10_000;
/** The servers' own limit. */
const TYPES_MAX = 100;

/** What this process can run. */
export interface Served {
  readonly type: string;
  /** How many it takes for others at a time; 0: none. */
  readonly concurrency: number;
  readonly showStack: boolean;
  run(input: unknown, run: Run): unknown;
}

/** This process as a node: offers what it can run, and runs what is given to it and what it has started for itself. */
export class Runner {
  readonly #connection: Connection;
  readonly #served = new Map<string, Served>();
  /** By run id. */
  readonly #active = new Map<string, Execution>();
  readonly #ended = new Set<string>();
  #outgoing: Outgoing<ServeRunsRequest> | undefined;
  #life: SessionLife | undefined;
  #started = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws {TypeError} if the type is served already. */
  serve(served: Served): void {
    if (this.#served.size >= TYPES_MAX) throw new TypeError(`type: a process can run at most ${TYPES_MAX} types`);
    if (this.#served.has(served.type)) throw new TypeError(`type: ${JSON.stringify(served.type)} is defined already`);
    this.#served.set(served.type, served);
    this.#offer();
    if (this.#started) return;
    this.#started = true;
    this.#connection.onAsserted(() => this.#assertAll());
    void this.#maintain();
  }

  /** Runs what a server gave to this process, once, however often it is told. */
  begin(life: SessionLife, assignment: RunAssignment, known: { epoch: string; requestId?: string }): void {
    const { state } = assignment;
    if (!state || life.lost || this.#active.has(state.runId) || this.#ended.has(state.runId)) return;
    const execution = new Execution(this.#connection, life, assignment, known);
    this.#active.set(state.runId, execution);
    void this.#run(execution);
    if (execution.epoch !== life.epoch) this.#assertAll(); // it crossed the change on its way
  }

  async #run(execution: Execution): Promise<void> {
    const served = this.#served.get(execution.type);
    execution.showStack = served?.showStack ?? false;
    const work = async () => {
      if (!served) throw new Error('this node does not run the type');
      return served.run(execution.input, execution);
    };
    await execution.finish(work());
    this.#active.delete(execution.runId);
    this.#ended.add(execution.runId);
    if (this.#ended.size > ENDED_MAX) this.#ended.delete(this.#ended.values().next().value as string);
  }

  #offer(): void {
    if (!this.#life) return;
    const offers = [...this.#served.values()].filter(({ concurrency }) => concurrency > 0);
    this.#outgoing?.push({ sessionId: this.#life.id, offers: offers.map(({ type, concurrency }) => ({ type, concurrency })) });
  }

  async #maintain(): Promise<void> {
    for (let failures = 0; ; failures++) {
      let link: Link;
      try {
        link = await this.#connection.link(Number.POSITIVE_INFINITY);
      } catch {
        return; // the client is closed
      }
      const error = await this.#converse(link, () => {
        failures = 0;
      });
      if (!link.broken.aborted) {
        await this.#connection.pause(backoffMs({ count: failures + 1, servers: 1, retryDelayMs: error?.retryDelayMs }));
      }
    }
  }

  /** Serves over one stream, until that ends. */
  async #converse(link: Link, onAnswer: () => void): Promise<StafettError | undefined> {
    const { life } = this.#connection;
    if (!life || life.lost) return undefined;
    const outgoing = new Outgoing<ServeRunsRequest>({ itemsMax: 1, weightMax: 1, weigh: () => 1 });
    const onBroken = () => outgoing.end();
    link.broken.addEventListener('abort', onBroken);
    [this.#outgoing, this.#life] = [outgoing, life];
    this.#offer();
    this.#resume();
    try {
      for await (const response of link.processes.serveRuns(requests(outgoing), { signal: link.broken })) {
        onAnswer();
        this.#onResponse(life, response);
      }
      return undefined;
    } catch (error) {
      return StafettError.from(error);
    } finally {
      link.broken.removeEventListener('abort', onBroken);
      outgoing.end();
      this.#life = undefined;
    }
  }

  /** What could not be said while there was no connection. */
  #resume(): void {
    for (const execution of this.#active.values()) void execution.resume();
    this.#assertAll();
  }

  #onResponse(life: SessionLife, { event }: ServeRunsResponse): void {
    if (event?.$case === 'assignment') this.begin(life, event.value, { epoch: life.epoch });
    if (event?.$case === 'cancellation') this.#onCancelled(event.value);
  }

  #onCancelled({ runId }: RunCancellation): void {
    this.#active.get(runId)?.cancel();
  }

  /** Says again what runs, after Redis lost its data. What cannot be said now is said over the next link, if it comes in time. */
  #assertAll(): void {
    const { present: link, life } = this.#connection;
    if (!link || !life || life.epoch === '') return; // over the next link, or when the session is known again
    for (const execution of this.#active.values()) {
      if (execution.life === life && execution.epoch !== life.epoch) void this.#assert(link, execution, life.epoch);
    }
  }

  async #assert(link: Link, execution: Execution, epoch: string): Promise<void> {
    try {
      await link.processes.assertRun(execution.toAssert(), { signal: link.broken });
      execution.epoch = epoch;
    } catch (cause) {
      const error = StafettError.from(cause);
      if (error.reason === 'RUN_NOT_CURRENT') execution.lose(error);
      else if (!link.broken.aborted) link.break(error);
    }
  }
}

async function* requests(outgoing: Outgoing<ServeRunsRequest>) {
  for await (const [request] of outgoing.batches()) yield request as ServeRunsRequest;
}
