import type { Connection } from './connection.js';
import type { LiveSetting } from './live-setting.js';
import type { SettingEvent, SettingView } from './setting-views.js';
import { watchSettings } from './setting-watch.js';

/** The live settings whose keys have the same first part, such as `mail/`: they share one stream. */
export class LiveSettingGroup {
  readonly #members = new Set<LiveSetting<unknown>>();
  readonly #known = new Map<string, SettingView>();
  #isLoaded = false;
  #isLive = false;
  #failure: unknown;
  #waiting: (() => void)[] = [];

  constructor(connection: Connection, prefix: string) {
    void this.#run(connection, prefix);
  }

  /** A server tells of changes now. */
  get isLive(): boolean {
    return this.#isLive;
  }

  get members(): Iterable<LiveSetting<unknown>> {
    return this.#members;
  }

  add(member: LiveSetting<unknown>): void {
    this.#members.add(member);
    if (this.#isLoaded) this.#tell(member);
  }

  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.#isLoaded) {
      signal?.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  async #run(connection: Connection, prefix: string): Promise<void> {
    const onOpen = (link: { readonly broken: AbortSignal }) => {
      this.#isLive = false; // until it says something
      link.broken.addEventListener('abort', () => {
        this.#isLive = false;
      });
    };
    try {
      for await (const event of watchSettings(connection, { prefix, onOpen, onHeard: () => this.#heard() })) this.#on(event);
    } catch (error) {
      this.#failure = error; // the client was closed, or the server refuses us for good
    }
    this.#isLive = false;
    this.#wake();
  }

  #heard(): void {
    this.#isLive = true;
  }

  #on(event: SettingEvent): void {
    if (event.type === 'snapshot') {
      this.#known.clear();
      for (const setting of event.settings) this.#known.set(setting.key, setting);
      this.#isLoaded = true;
      for (const member of this.#members) this.#tell(member);
      this.#wake();
      return;
    }
    const { setting } = event;
    if (event.type === 'set') this.#known.set(setting.key, setting);
    else this.#known.delete(setting.key);
    for (const member of this.#members) if (member.key === setting.key) this.#tell(member);
  }

  #tell(member: LiveSetting<unknown>): void {
    const setting = this.#known.get(member.key);
    member.take(setting?.value, setting?.revision ?? 0n);
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
