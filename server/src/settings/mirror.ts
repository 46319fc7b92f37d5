import type { ChangeView, SettingRecord } from '../engine/setting-commands.js';

/** A setting, or a change of one. */
export interface Setting {
  readonly key: string;
  /** A JSON text; undefined: it was deleted. */
  readonly value: string | undefined;
  readonly revision: number;
  /** When, by the clock of Redis, ms. */
  readonly time: number;
  readonly author: string;
  /** The id of the request that set it. */
  readonly request: string;
}

/** Changes that belong together; the last known revision once all of them are taken in. */
export interface Step {
  readonly revision: number;
  readonly changes: readonly Setting[];
}

/** What Redis has, all of it, at one moment. */
export interface Dump {
  readonly revision: number;
  /** The log has all that is later. */
  readonly floor: number;
  readonly entries: readonly (string | SettingRecord)[];
  readonly log: readonly ChangeView[];
}

/** Steps that a server remembers, and bytes of them, so that a watch can go on where it was. */
const LOG_MAX = 1_000;
const LOG_BYTES_MAX = 4 * 1024 * 1024;

/** What a server knows of the settings of one namespace. It outlives the loss of Redis' data. */
export class Mirror {
  readonly settings = new Map<string, Setting>();
  #revision = 0;
  /** The log has all that is later. */
  #floor = 0;
  #log: Step[] = [];
  #logBytes = 0;
  #isLoaded = false;
  readonly #onStep: (step: Step) => void;

  constructor(onStep: (step: Step) => void = () => {}) {
    this.#onStep = onStep;
  }

  /** All changes up to here are known. */
  get revision(): number {
    return this.#revision;
  }

  /** Since what revision all steps are known. */
  get floor(): number {
    return this.#floor;
  }

  /** Was there ever anything to know it from? */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** As it was saved, when nothing was known yet. */
  restore(settings: readonly Setting[], revision: number): void {
    for (const setting of settings) this.settings.set(setting.key, setting);
    this.#revision = revision;
    this.#floor = revision;
    this.#isLoaded = true;
  }

  /** Takes in one change. Returns false if there are others before it that are not known. */
  apply(view: ChangeView): boolean {
    const [revision, before] = view;
    if (revision <= this.#revision) return true;
    if (before !== this.#revision || !this.#isLoaded) return false;
    this.#take({ revision, changes: [toChange(view)] });
    return true;
  }

  /** Takes in all there is; what differs is a step. */
  load(dump: Dump): void {
    const { revision, floor, log } = dump;
    const settings = toSettings(dump);
    if (!this.#isLoaded) {
      for (const setting of settings.values()) this.settings.set(setting.key, setting);
      this.#revision = revision;
      this.#floor = floor;
      this.#log = log.map((view) => ({ revision: view[0], changes: [toChange(view)] }));
      this.#isLoaded = true;
      return;
    }
    const next = Math.max(revision, this.#revision);
    const changes = [...this.#deleted(settings, next), ...this.#changed(settings)].sort((a, b) => a.revision - b.revision);
    if (changes.length > 0 || next > this.#revision) this.#take({ revision: next, changes });
  }

  /**
   * What happened since then; undefined if that is not all known. Only a revision that was one here is good: another one may have
   * seen something that was lost.
   */
  since(revision: number): Step[] | undefined {
    if (revision !== this.#floor && !this.#log.some((step) => step.revision === revision)) return undefined;
    return this.#log.filter((step) => step.revision > revision);
  }

  /** Key, request and revision of each change that is remembered, so that whoever asks for it again finds it. */
  requests(): (string | number)[] {
    const changes = this.#log.flatMap((step) => step.changes).filter(({ request }) => request !== '');
    return changes.flatMap(({ key, request, revision }) => [key, request, revision]);
  }

  *#changed(settings: ReadonlyMap<string, Setting>): Generator<Setting> {
    for (const setting of settings.values()) {
      if (this.settings.get(setting.key)?.revision !== setting.revision) yield setting;
    }
  }

  *#deleted(settings: ReadonlyMap<string, Setting>, revision: number): Generator<Setting> {
    for (const { key, time } of this.settings.values()) {
      if (!settings.has(key)) yield { key, value: undefined, revision, time, author: '', request: '' };
    }
  }

  #take(step: Step): void {
    for (const change of step.changes) {
      if (change.value === undefined) this.settings.delete(change.key);
      else this.settings.set(change.key, change);
    }
    this.#revision = step.revision;
    this.#log.push(step);
    this.#logBytes += bytesOf(step);
    while (this.#log.length > LOG_MAX || (this.#logBytes > LOG_BYTES_MAX && this.#log.length > 1)) {
      const oldest = this.#log.shift() as Step;
      this.#logBytes -= bytesOf(oldest);
      this.#floor = oldest.revision;
    }
    this.#onStep(step);
  }
}

export function toSetting(key: string, [revision, value, time, author, request]: SettingRecord): Setting {
  return { key, value, revision, time, author, request };
}

export function toRecord({ value = '', revision, time, author, request }: Setting): SettingRecord {
  return [revision, value, time, author, request];
}

/** Roughly how much memory, or how much of a message, it takes. */
export function sizeOf({ key, value, author }: Setting): number {
  return key.length + (value?.length ?? 0) + author.length + 64;
}

function toChange([revision, , key, value, time, author, request]: ChangeView): Setting {
  return { key, value: value === false ? undefined : value, revision, time, author, request };
}

function toSettings({ entries }: Dump): Map<string, Setting> {
  const settings = new Map<string, Setting>();
  for (let i = 0; i < entries.length; i += 2) {
    const key = entries[i] as string;
    settings.set(key, toSetting(key, entries[i + 1] as SettingRecord));
  }
  return settings;
}

function bytesOf({ changes }: Step): number {
  return changes.reduce((sum, change) => sum + sizeOf(change), 0);
}
