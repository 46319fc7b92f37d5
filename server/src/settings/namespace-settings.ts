import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { list } from '../engine/codec.js';
import type { CommandOf, Results } from '../engine/commands.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { ChangeView, NotNow, PastChange, SettingRecord, SettingVerb } from '../engine/setting-commands.js';
import { type Dump, Mirror, type Setting, type Step, toRecord, toSetting } from './mirror.js';
import { notYet, revisionMismatch, tooManySettings } from './refusals.js';
import type { Saved } from './snapshot-files.js';

/** Bytes of keys and values that a namespace may have: small enough to be said again in one step after Redis lost them. */
const SETTINGS_BYTES_MAX = 8 * 1024 * 1024;
/** Bytes of settings in one page. */
const PAGE_BYTES_MAX = 1024 * 1024;
/** How long a call waits for servers that may know more, and how often it asks again, ms. */
const PATIENCE_MS = 5_000;
const ASK_AGAIN_MS = 100;

export interface NamespaceSettingsOptions {
  readonly engine: NamespaceEngine;
  readonly logger: Logger;
  readonly maxSettings: number;
  /** From a file. */
  readonly saved: Saved | undefined;
}

/** What to change. No value: delete. */
export interface Wish {
  readonly key: string;
  readonly value: string | undefined;
  readonly ifRevision: bigint | undefined;
  readonly ifUnchangedSince: bigint | undefined;
  readonly author: string;
  readonly request: string;
}

type Done<V extends SettingVerb> = Exclude<Results[V], NotNow>;

/**
 * The settings of one namespace, as this server sees them. Before it asks anything in a new epoch it says what it knows from the one
 * before: so they outlive the loss of Redis' data as long as one server does.
 */
export class NamespaceSettings {
  /** `step`: something has changed. */
  readonly events = new EventEmitter<{ step: [Step] }>().setMaxListeners(0);
  readonly #options: NamespaceSettingsOptions;
  readonly #mirror = new Mirror((step) => this.events.emit('step', step));
  /** The epoch in which this server has said what it knows, and that in which it has looked at everything. */
  #epoch = '';
  #loadedEpoch = '';
  #isFromFile = false;
  #entering: Promise<void> | undefined;
  #loading: Promise<void> | undefined;

  constructor(options: NamespaceSettingsOptions) {
    this.#options = options;
    const { engine, saved } = options;
    if (saved) {
      this.#mirror.restore(saved.settings, saved.revision);
      this.#isFromFile = true;
    }
    engine.events.on('epoch', () => this.wake());
    engine.events.on('reask', () => this.wake());
    this.wake();
  }

  get namespace(): string {
    return this.#options.engine.namespace;
  }

  /** What is known now. */
  get mirror(): Mirror {
    return this.#mirror;
  }

  /** The epoch that the mirror is of. */
  get epoch(): string {
    return this.#loadedEpoch;
  }

  /** Says what it knows and learns what there is, in the background. */
  wake(): void {
    this.#catchUp(Number.POSITIVE_INFINITY).catch(() => {}); // the next one tries again
  }

  /** A change that was published, or false if everything has to be looked at again. */
  hear(epoch: string, change: ChangeView | false): void {
    if (change !== false && epoch === this.#loadedEpoch && this.#mirror.apply(change)) return;
    if (change === false) this.#loadedEpoch = '';
    this.wake();
  }

  /** Resolves when the mirror shows all that Redis has just now. @throws {StafettError} GRACE_PERIOD, REDIS_UNAVAILABLE */
  current(): Promise<void> {
    return this.#catchUp(performance.now() + PATIENCE_MS);
  }

  /** @throws {StafettError} SETTING_REVISION_MISMATCH, TOO_MANY_SETTINGS. @returns undefined when there was nothing to delete. */
  async change({ key, value, ifRevision, ifUnchangedSince, author, request }: Wish): Promise<Setting | undefined> {
    const { maxSettings } = this.#options;
    const result = await this.#ask<'setting_change'>((epoch) => [
      'setting_change',
      epoch,
      key,
      value ?? false,
      ifRevision === undefined ? -1 : Number(ifRevision),
      ifUnchangedSince === undefined ? -1 : Number(ifUnchangedSince),
      author,
      request,
      maxSettings,
      SETTINGS_BYTES_MAX,
    ]);
    if (result[0] === 'absent') return undefined;
    if (result[0] === 'mismatch') throw revisionMismatch(key, result[1], result[2]);
    if (result[0] === 'too_many') throw tooManySettings(maxSettings, SETTINGS_BYTES_MAX);
    const [, revision, before, time] = result;
    // Whatever is confirmed is known here, and not lost with Redis.
    if (!this.#mirror.apply([revision, before, key, value ?? false, time, author, request])) await this.current();
    return { key, value, revision, time, author, request };
  }

  async get(key: string): Promise<Setting | undefined> {
    const [, record] = await this.#ask<'setting_get'>((epoch) => ['setting_get', epoch, key]);
    return record === false ? undefined : toSetting(key, record);
  }

  async history(key: string): Promise<PastChange[]> {
    const [, changes] = await this.#ask<'setting_history'>((epoch) => ['setting_history', epoch, key]);
    return list(changes);
  }

  async list(prefix: string, after: string, limit: number): Promise<{ settings: Setting[]; last: string }> {
    const [, views, last] = await this.#ask<'setting_list'>((epoch) => ['setting_list', epoch, prefix, after, limit, PAGE_BYTES_MAX]);
    return { settings: list(views).map(([key, record]) => toSetting(key, record)), last };
  }

  async #ask<V extends SettingVerb>(
    command: (epoch: string) => CommandOf<V>,
    giveUpAt = performance.now() + PATIENCE_MS,
  ): Promise<Done<V>> {
    while (true) {
      const result = (await this.#options.engine.run<V>(command(this.#epoch))) as Results[V];
      if (result[0] === 'unasserted') {
        await this.#enter();
      } else if (result[0] === 'grace') {
        const leftMs = result[1] as number;
        if (performance.now() >= giveUpAt) throw notYet(leftMs);
        await sleep(Math.min(leftMs + 1, ASK_AGAIN_MS), undefined, { ref: false });
      } else {
        return result as Done<V>;
      }
    }
  }

  /** Says what is known from another epoch. */
  #enter(): Promise<void> {
    this.#entering ??= this.#assert().finally(() => {
      this.#entering = undefined;
    });
    return this.#entering;
  }

  async #assert(): Promise<void> {
    const { engine, logger, saved } = this.#options;
    const { id: epoch } = engine.epoch;
    const mirror = this.#mirror;
    if (mirror.isLoaded && !(this.#isFromFile && saved?.epoch === epoch)) {
      const entries = [...mirror.settings.values()].flatMap((setting) => [setting.key, toRecord(setting)]);
      const fromFile = this.#isFromFile ? 1 : 0;
      const result = await engine.run<'setting_assert'>(['setting_assert', epoch, mirror.revision, fromFile, entries, mirror.requests()]);
      if (result[0] === 'unasserted') return; // and again
      const facts = { namespace: engine.namespace, settings: mirror.settings.size, revision: mirror.revision, fromFile: this.#isFromFile };
      if (result[1] === 1 && mirror.settings.size > 0) logger.warn(facts, 'Redis had lost settings; they are back');
    }
    this.#epoch = epoch;
  }

  /** Until then it waits for servers that may know more. */
  async #catchUp(giveUpAt: number): Promise<void> {
    if (this.#loadedEpoch === '' || this.#loadedEpoch !== this.#options.engine.epoch.id) return this.#load(giveUpAt);
    const result = await this.#ask<'setting_since'>((epoch) => ['setting_since', epoch, this.#mirror.revision], giveUpAt);
    const complete =
      result[0] === 'changes' && this.#loadedEpoch === this.#epoch && list(result[1]).every((change) => this.#mirror.apply(change));
    if (!complete) await this.#load(giveUpAt);
  }

  async #load(giveUpAt: number): Promise<void> {
    // One for all: who began earlier may be more patient, and dumps are big.
    this.#loading ??= this.#loadAll().finally(() => {
      this.#loading = undefined;
    });
    const leftMs = giveUpAt - performance.now();
    if (leftMs === Number.POSITIVE_INFINITY) return this.#loading;
    const enough = new AbortController();
    const late = sleep(Math.max(0, leftMs), undefined, { signal: enough.signal }).then(
      () => Promise.reject(notYet(ASK_AGAIN_MS)),
      () => {},
    );
    await Promise.race([this.#loading, late]).finally(() => enough.abort());
  }

  async #loadAll(): Promise<void> {
    let { dump, epoch } = await this.#dump();
    // Something that Redis did later may have been heard of earlier.
    if (dump.revision < this.#mirror.revision) ({ dump, epoch } = await this.#dump());
    this.#loadedEpoch = epoch;
    this.#isFromFile = false;
    this.#mirror.load(dump);
  }

  async #dump(): Promise<{ dump: Dump; epoch: string }> {
    let asked = '';
    const command = (epoch: string): CommandOf<'setting_dump'> => {
      asked = epoch;
      return ['setting_dump', epoch];
    };
    const [, revision, floor, entries, log] = await this.#ask<'setting_dump'>(command, Number.POSITIVE_INFINITY);
    return { epoch: asked, dump: { revision, floor, entries: list<string | SettingRecord>(entries), log: list(log) } };
  }
}
