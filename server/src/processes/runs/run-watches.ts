import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { RunView } from '../../engine/run-commands.js';
import { runNotFound } from './refusals.js';
import { RunWatch } from './run-watch.js';

/** How long the engine tells this server of a run's states, and how often that is renewed, ms. */
const WATCH_MS = 20_000;
const RENEW_MS = 5_000;

/** The states of one namespace's runs, for all readers on this server. */
export class RunWatches {
  readonly #engine: NamespaceEngine;
  readonly #watches = new Map<string, Set<RunWatch>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    engine.interests.push(() => this.#watches.size > 0);
    engine.events.on('run', (view) => this.#onState(view));
    engine.events.on('reask', () => this.#renew());
    engine.events.on('epoch', () => this.#onEpoch());
  }

  /** The state of the run, then every state, until it is over or the signal says enough. @throws {StafettError} RUN_NOT_FOUND */
  async *watch(ref: string, enough: AbortSignal): AsyncIterable<RunView> {
    const watch = new RunWatch(ref);
    const stop = () => watch.end();
    enough.addEventListener('abort', stop);
    this.#add(watch); // before asking, so that nothing falls between
    try {
      await this.#refresh(ref);
      this.#engine.expectExpiries();
      if (enough.aborted) watch.end();
      yield* watch.states();
    } finally {
      enough.removeEventListener('abort', stop);
      this.#remove(watch);
    }
  }

  #add(watch: RunWatch): void {
    const watches = this.#watches.get(watch.ref) ?? new Set();
    this.#watches.set(watch.ref, watches.add(watch));
    this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
  }

  #remove(watch: RunWatch): void {
    watch.end();
    const watches = this.#watches.get(watch.ref);
    watches?.delete(watch);
    if (watches?.size !== 0) return;
    this.#watches.delete(watch.ref);
    this.#engine.submit<'watch_run'>(['watch_run', watch.ref, 0], () => {});
    if (this.#watches.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #of(ref: string): RunWatch[] {
    return [...(this.#watches.get(ref) ?? [])];
  }

  #onState(view: RunView): void {
    const complete = this.#of(view[0]).map((watch) => watch.offer(view));
    if (complete.includes(false)) void this.#catchUp(view[0]);
  }

  /** What is missing may lie in the outbox. */
  async #catchUp(ref: string): Promise<void> {
    await this.#engine.catchUp();
    for (const watch of this.#of(ref)) watch.skip();
  }

  #onEpoch(): void {
    for (const ref of this.#watches.keys()) for (const watch of this.#of(ref)) watch.forget();
    this.#renew();
  }

  #renew(): void {
    for (const ref of this.#watches.keys()) this.#refresh(ref).catch(() => {}); // the next renewal tries again
  }

  async #refresh(ref: string): Promise<void> {
    const result = await this.#engine.run<'watch_run'>(['watch_run', ref, WATCH_MS]);
    if (result[0] === 'grace') return; // its runner may come yet; asked again when that is over
    if (result[0] === 'none') return this.#of(ref).forEach((watch) => watch.end(runNotFound(ref)));
    for (const watch of this.#of(ref)) watch.begin(result[1]);
    this.#onState(result[1]);
  }
}
