import type { InstanceView } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { Instance } from '../gen/stafett/v1/instance.js';
import { toInstance } from './registration.js';

/** How long the engine tells this server of instances, and how often that is renewed, ms. */
const WATCH_MS = 20_000;
const RENEW_MS = 5_000;
const PAGE = 500;

/** What is known of an instance, as of the change with this number. Undefined: it is gone. */
interface Known {
  readonly changes: number;
  readonly instance: Instance | undefined;
}

/** Somebody who wants to know which instances there are. */
export interface InstanceListener {
  /** An instance is there, is not as before, or is gone. */
  onChange(instanceId: string): void;
}

/** The instances of one namespace, as long as anybody on this server watches them. */
export class InstanceWatches {
  readonly #engine: NamespaceEngine;
  readonly #listeners = new Set<InstanceListener>();
  #known = new Map<string, Known>();
  /** All changes up to this one have been heard. */
  #heard = 0;
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Redis forgot them, and they come again one by one: those that have not come yet are not gone. */
  #rebuilding = false;

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    engine.interests.push(() => this.#listeners.size > 0);
    engine.events.on('instance', (changes, sid, view) => this.#onEvent(changes, sid, view));
    engine.events.on('reask', () => this.#renew());
    engine.events.on('epoch', () => this.#onEpoch());
  }

  /** Resolves when everything that there is, is known. @throws {StafettError} REDIS_UNAVAILABLE */
  async add(listener: InstanceListener): Promise<void> {
    this.#listeners.add(listener);
    this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
    await this.#refresh();
  }

  remove(listener: InstanceListener): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#known.clear();
    this.#engine.submit<'watch_instances'>(['watch_instances', 0], () => {});
  }

  ids(): Iterable<string> {
    return this.#known.keys();
  }

  get(instanceId: string): Instance | undefined {
    return this.#known.get(instanceId)?.instance;
  }

  #onEvent(changes: number, sid: string, view: InstanceView | false): void {
    if (this.#listeners.size === 0) return;
    const complete = changes <= this.#heard + 1;
    this.#learn(sid, changes, view);
    if (complete) this.#heard = Math.max(this.#heard, changes);
    else this.#refresh().catch(() => {}); // the next renewal tries again
  }

  #onEpoch(): void {
    if (this.#listeners.size === 0) return;
    this.#heard = 0;
    this.#rebuilding = true;
    for (const [sid, { instance }] of this.#known) this.#known.set(sid, { changes: 0, instance });
    this.#engine.submit<'watch_instances'>(['watch_instances', WATCH_MS], () => {});
  }

  #renew(): void {
    if (this.#listeners.size === 0) return;
    this.#engine.submit<'watch_instances'>(['watch_instances', WATCH_MS], (_, result) => {
      if (result && (result[1] !== this.#heard || this.#rebuilding)) this.#refresh().catch(() => {});
    });
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#readAll().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** What is heard while it reads is newer than what it reads, or the same. */
  async #readAll(): Promise<void> {
    const [, first] = await this.#engine.run<'watch_instances'>(['watch_instances', WATCH_MS]);
    const found = new Set<string>();
    for (let after = ''; ; ) {
      const [, page, last, changes] = await this.#engine.run<'instances'>(['instances', after, PAGE]);
      for (const view of Array.isArray(page) ? page : []) {
        found.add(view[0]);
        this.#learn(view[0], changes, view);
      }
      if (last === '') break;
      after = last;
    }
    for (const [sid, { changes }] of this.#known) if (changes <= first && !found.has(sid)) this.#forget(sid);
    this.#heard = Math.max(this.#heard, first);
    this.#rebuilding = false;
  }

  #learn(sid: string, changes: number, view: InstanceView | false): void {
    const known = this.#known.get(sid);
    if (known && known.changes >= changes && changes > 0) return;
    const instance = view ? toInstance(view) : undefined;
    this.#known.set(sid, { changes, instance });
    this.#tell(sid);
  }

  #forget(sid: string): void {
    const known = this.#known.get(sid);
    this.#known.delete(sid);
    if (known?.instance) this.#tell(sid);
  }

  #tell(sid: string): void {
    for (const listener of this.#listeners) listener.onChange(sid);
  }
}
