import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { ServedInstance } from './served-instance.js';

/** How long after a refusal it is asked again whether the instance can be registered, ms. The session may have to be asserted first. */
const AGAIN_MS = 1_000;

interface Entry {
  readonly served: ServedInstance;
  readonly record: string;
  readonly generation: number;
  again?: NodeJS.Timeout;
}

/** The instances of one namespace whose streams this server has: keeps them registered, also when Redis forgets them. */
export class Registry {
  readonly #engine: NamespaceEngine;
  readonly #entries = new Map<string, Entry>();

  constructor(engine: NamespaceEngine) {
    this.#engine = engine;
    engine.events.on('epoch', () => this.#registerAll());
    engine.events.on('asserted', (sid) => {
      const entry = this.#entries.get(sid);
      if (entry) void this.#register(entry);
    });
  }

  find(instanceId: string): ServedInstance | undefined {
    return this.#entries.get(instanceId)?.served;
  }

  all(): Iterable<ServedInstance> {
    return [...this.#entries.values()].map(({ served }) => served);
  }

  /** Takes the place of an earlier stream of the same instance. What the engine said is returned. */
  async add(served: ServedInstance, record: string, generation: number) {
    const result = await this.#engine.run<'register_instance'>(['register_instance', served.instanceId, record, generation]);
    if (result[0] !== 'registered' && result[0] !== 'unconfirmed') return result[0];
    this.#drop(served.instanceId)?.end();
    const entry = { served, record, generation };
    this.#entries.set(served.instanceId, entry);
    if (result[0] === 'unconfirmed') this.#tryAgain(entry);
    return 'registered';
  }

  /** Its stream has ended. If it left, it is not listed any more, else as not connected, until its session ends. */
  remove(served: ServedInstance): void {
    const { instanceId } = served;
    if (this.find(instanceId) !== served) return; // a later stream took its place
    this.#drop(instanceId);
    if (served.left) this.#engine.submit<'leave_instance'>(['leave_instance', instanceId], () => {});
    else this.#engine.submit<'detach_instance'>(['detach_instance', instanceId], () => {});
  }

  #drop(instanceId: string): ServedInstance | undefined {
    const entry = this.#entries.get(instanceId);
    clearTimeout(entry?.again);
    this.#entries.delete(instanceId);
    return entry?.served;
  }

  #registerAll(): void {
    for (const entry of this.#entries.values()) void this.#register(entry);
  }

  async #register(entry: Entry): Promise<void> {
    const { served, record, generation } = entry;
    try {
      const [outcome] = await this.#engine.run<'register_instance'>(['register_instance', served.instanceId, record, generation]);
      if (this.find(served.instanceId) !== served) {
        // It ended meanwhile, and what told so may have come before.
        if (outcome === 'registered' && !this.find(served.instanceId))
          this.#engine.submit<'detach_instance'>(['detach_instance', served.instanceId], () => {});
      } else if (outcome === 'gone' || outcome === 'moved') served.end();
      else if (outcome === 'unconfirmed') this.#tryAgain(entry);
    } catch {
      this.#tryAgain(entry);
    }
  }

  #tryAgain(entry: Entry): void {
    clearTimeout(entry.again);
    entry.again = setTimeout(() => {
      if (this.find(entry.served.instanceId) === entry.served) void this.#register(entry);
    }, AGAIN_MS).unref();
  }
}
