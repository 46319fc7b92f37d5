import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { ServeRunsRequest, ServeRunsResponse } from '../../gen/stafett/v1/run.js';
import { RunnerStream } from './runner-stream.js';

/** How often it is looked whether all is told, though nothing should get lost, ms. */
const SYNC_MS = 5_000;

/** The nodes of one namespace that are connected to this server, by their sessions. */
export class Runners {
  readonly #engine: NamespaceEngine;
  readonly #serverId: string;
  readonly #streams = new Map<string, RunnerStream>();
  #timer: NodeJS.Timeout | undefined;
  #count = 0;

  constructor(engine: NamespaceEngine, serverId: string) {
    this.#engine = engine;
    this.#serverId = serverId;
    engine.interests.push(() => this.#streams.size > 0);
    engine.events.on('runner', (sid) => this.#streams.get(sid)?.sync());
    engine.events.on('reask', () => this.#forAll((stream) => this.#offer(stream)));
    engine.events.on('asserted', (sid) => {
      const stream = this.#streams.get(sid);
      if (stream) this.#offer(stream);
    });
  }

  async *serve(requests: AsyncIterable<ServeRunsRequest>, signal: AbortSignal): AsyncIterable<ServeRunsResponse> {
    this.#count++;
    const id = `${this.#serverId}/${this.#count}`;
    const stream = new RunnerStream({ engine: this.#engine, id, onSession: (named) => this.#add(named) });
    try {
      yield* stream.run(requests, signal);
    } finally {
      this.#remove(stream);
    }
  }

  /** Asks the nodes to go to another server. */
  drain(): void {
    this.#forAll((stream) => stream.move());
  }

  #add(stream: RunnerStream): void {
    this.#streams.get(stream.sid)?.end();
    this.#streams.set(stream.sid, stream);
    this.#timer ??= setInterval(() => this.#forAll((each) => each.sync()), SYNC_MS).unref();
  }

  #remove(stream: RunnerStream): void {
    if (this.#streams.get(stream.sid) !== stream) return;
    this.#streams.delete(stream.sid);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #offer(stream: RunnerStream): void {
    stream.offer().catch(() => stream.sync()); // which is asked again from time to time
  }

  #forAll(action: (stream: RunnerStream) => void): void {
    for (const stream of this.#streams.values()) action(stream);
  }
}
