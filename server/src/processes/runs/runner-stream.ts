import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { HeldRun } from '../../engine/run-commands.js';
import type { ServeRunsRequest, ServeRunsResponse } from '../../gen/stafett/v1/run.js';
import { invalidField, shuttingDown } from '../../rpc/errors.js';
import { isId, toDuration } from '../../rpc/fields.js';
import { sessionNotFound } from '../../sessions/refusals.js';
import { checkOffers } from './run-checks.js';
import { toRunState } from './run-views.js';

type Item = 'accepted' | { readonly kind: 'assignment' | 'cancellation'; readonly held: HeldRun };

export interface RunnerStreamOptions {
  readonly engine: NamespaceEngine;
  /** Of this stream alone, in the whole cluster. */
  readonly id: string;
  /** The node has said who it is. */
  onSession(stream: RunnerStream): void;
}

/** One ServeRuns stream: tells a node what it has to run and to stop. The engine knows that; here is known what was told. */
export class RunnerStream {
  readonly #options: RunnerStreamOptions;
  #sid = '';
  #offers: (string | number)[] = [];
  /** What was told, by run: is it to be cancelled? */
  readonly #told = new Map<number, 0 | 1>();
  #items: Item[] = [];
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  #syncing: Promise<void> | undefined;
  #syncAgain = false;

  constructor(options: RunnerStreamOptions) {
    this.#options = options;
  }

  get sid(): string {
    return this.#sid;
  }

  async *run(requests: AsyncIterable<ServeRunsRequest>, signal: AbortSignal): AsyncIterable<ServeRunsResponse> {
    const onAbort = () => this.end();
    signal.addEventListener('abort', onAbort);
    void this.#read(requests);
    try {
      while (!signal.aborted) {
        const item = this.#items.shift();
        if (item) {
          const event = await this.#toEvent(item);
          if (event) yield { event };
        } else if (this.#failure) throw this.#failure;
        else if (this.#ended) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#ended = true;
      if (this.#sid !== '') this.#options.engine.submit<'unserve_runs'>(['unserve_runs', this.#sid, this.#options.id], () => {});
    }
  }

  /** Another stream of the session has taken its place, or the server stops. */
  end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
  }

  move(): void {
    this.end(shuttingDown());
  }

  /** Says again what the node offers: Redis may have lost it. */
  async offer(): Promise<void> {
    if (this.#ended) return;
    const { engine, id } = this.#options;
    const result = await engine.run<'serve_runs'>(['serve_runs', this.#sid, id, this.#offers]);
    if (result[0] === 'gone') return this.end(sessionNotFound(this.#sid));
    if (result[0] === 'held') this.#onHeld(result[1]);
  }

  /** Looks what the node runs now. Calls that come meanwhile are served by one more look. */
  sync(): void {
    this.#syncAgain = true;
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined;
    });
  }

  async #sync(): Promise<void> {
    while (this.#syncAgain && !this.#ended) {
      this.#syncAgain = false;
      const result = await this.#options.engine.run<'held_runs'>(['held_runs', this.#sid]).catch(() => undefined); // the next one tells
      if (result?.[0] === 'gone') this.end(sessionNotFound(this.#sid));
      if (result?.[0] === 'held') this.#onHeld(result[1]);
    }
  }

  #onHeld(list: HeldRun[]): void {
    const held = Array.isArray(list) ? list : [];
    const runs = new Set(held.map(([, run]) => run));
    for (const run of this.#told.keys()) if (!runs.has(run)) this.#told.delete(run);
    for (const each of held) {
      const [, run, cancel] = each;
      if (!this.#told.has(run)) this.#push({ kind: 'assignment', held: each });
      if (cancel === 1 && this.#told.get(run) !== 1) this.#push({ kind: 'cancellation', held: each });
      this.#told.set(run, cancel);
    }
  }

  async #read(requests: AsyncIterable<ServeRunsRequest>): Promise<void> {
    try {
      for await (const { sessionId, offers } of requests) {
        const checked = checkOffers(offers);
        if (!isId(sessionId)) throw sessionNotFound(sessionId);
        if (this.#sid !== '' && this.#sid !== sessionId) throw invalidField('session_id', 'is another one than before');
        this.#offers = checked;
        if (this.#sid === '') {
          this.#sid = sessionId;
          this.#options.onSession(this);
        }
        await this.offer();
        this.#push('accepted');
      }
      this.end();
    } catch (error) {
      this.end(error as Error);
    }
  }

  #push(item: Item): void {
    this.#items.push(item);
    this.#wake();
  }

  /** Inputs are fetched when the reader is ready for them, so that they do not pile up. */
  async #toEvent(item: Item): Promise<ServeRunsResponse['event']> {
    if (item === 'accepted') return { $case: 'accepted', value: {} };
    const [ref, run] = item.held;
    if (item.kind === 'cancellation') {
      const slash = ref.indexOf('/');
      return { $case: 'cancellation', value: { type: ref.slice(0, slash), id: ref.slice(slash + 1), runId: String(run) } };
    }
    const result = await this.#options.engine.run<'run_input'>(['run_input', ref, run]);
    if (result[0] === 'none') return undefined;
    const [, view, input] = result;
    const { retries, ttl } = view[1];
    const value = { state: toRunState(view), input: Buffer.from(input), retryOnLost: retries, resultTtl: toDuration(ttl) };
    return { $case: 'assignment', value };
  }
}
