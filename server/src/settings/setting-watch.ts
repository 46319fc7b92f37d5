import type { WatchSettingsResponse } from '../gen/stafett/v1/setting.js';
import { streamLimit } from '../rpc/errors.js';
import { type Setting, type Step, sizeOf } from './mirror.js';
import type { NamespaceSettings } from './namespace-settings.js';
import { revisionUnavailable } from './refusals.js';
import { toProtoChange, toProtoSetting } from './setting-views.js';

/** Steps, and bytes of them, that wait for one reader. */
const STEPS_MAX = 10_000;
const STEPS_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of settings in one message. */
const PART_BYTES_MAX = 512 * 1024;
/** How often a reader of whose settings none has changed is told how far it has come, ms. */
const PROGRESS_MS = 10_000;

/** One reader of the changes below a prefix. */
export class SettingWatch {
  readonly #settings: NamespaceSettings;
  readonly #prefix: string;
  #steps: Step[] = [];
  #bytes = 0;
  /** Told, and to be told at the next occasion. */
  #revision = 0;
  #position = 0;
  #wake: () => void = () => {};
  #failure: Error | undefined;
  #ended = false;

  constructor(settings: NamespaceSettings, prefix: string) {
    this.#settings = settings;
    this.#prefix = prefix;
  }

  /** @throws {StafettError} REVISION_UNAVAILABLE, STREAM_LIMIT, GRACE_PERIOD, REDIS_UNAVAILABLE */
  async *run(from: bigint, signal: AbortSignal): AsyncGenerator<WatchSettingsResponse> {
    const onStep = (step: Step) => this.#onStep(step);
    const end = () => this.#end();
    await this.#settings.current();
    this.#settings.events.on('step', onStep);
    signal.addEventListener('abort', end);
    const progress = setInterval(() => this.#wake(), PROGRESS_MS).unref();
    if (signal.aborted) this.#end();
    try {
      // Nothing happens between the look at the mirror and the listening.
      if (from === 0n) yield* this.#snapshot();
      else yield this.#resume(from);
      yield* this.#changes();
    } finally {
      clearInterval(progress);
      signal.removeEventListener('abort', end);
      this.#settings.events.off('step', onStep);
    }
  }

  #snapshot(): Iterable<WatchSettingsResponse> {
    const { mirror } = this.#settings;
    this.#revision = this.#position = mirror.revision;
    return parts(
      [...mirror.settings.values()].filter(({ key }) => key.startsWith(this.#prefix)),
      mirror.revision,
    );
  }

  #resume(from: bigint): WatchSettingsResponse {
    const { mirror } = this.#settings;
    const steps = mirror.since(Number(from));
    if (!steps) throw revisionUnavailable(from, mirror.floor, mirror.revision);
    for (const step of steps) this.#onStep(step);
    this.#revision = Number(from);
    this.#position = mirror.revision;
    return this.#next() ?? toMessage([], Number(from));
  }

  async *#changes(): AsyncGenerator<WatchSettingsResponse> {
    while (true) {
      const message = this.#next();
      if (message) yield message;
      if (this.#failure) throw this.#failure;
      if (this.#ended) return;
      if (this.#steps.length > 0) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** All that waits, as one message if it fits. Of one that has ended nothing: it is told where the reader goes on. */
  #next(): WatchSettingsResponse | undefined {
    if (this.#ended) return undefined;
    const changes: Setting[] = [];
    let bytes = 0;
    let revision = this.#position;
    while (this.#steps.length > 0 && bytes < PART_BYTES_MAX) {
      const step = this.#steps.shift() as Step;
      const size = step.changes.reduce((sum, change) => sum + sizeOf(change), 0);
      changes.push(...step.changes);
      bytes += size;
      this.#bytes -= size;
      revision = step.revision;
    }
    if (this.#steps.length === 0) revision = Math.max(revision, this.#position);
    if (revision === this.#revision) return undefined;
    this.#revision = revision;
    return toMessage(changes, revision);
  }

  #onStep({ revision, changes }: Step): void {
    this.#position = revision;
    const own = changes.filter(({ key }) => key.startsWith(this.#prefix));
    if (own.length === 0) return; // told with the progress
    this.#bytes += own.reduce((sum, change) => sum + sizeOf(change), 0);
    this.#steps.push({ revision, changes: own });
    if (this.#steps.length > STEPS_MAX || this.#bytes > STEPS_BYTES_MAX) {
      this.#end(streamLimit(`more than ${STEPS_MAX} changes or ${STEPS_BYTES_MAX} bytes of them wait for a reader that does not read`));
    }
    this.#wake();
  }

  #end(failure?: Error): void {
    this.#failure ??= failure;
    this.#ended = true;
    this.#steps = [];
    this.#wake();
  }
}

function* parts(settings: Setting[], revision: number): Generator<WatchSettingsResponse> {
  let part: Setting[] = [];
  let bytes = 0;
  for (const setting of settings) {
    bytes += sizeOf(setting);
    if (bytes > PART_BYTES_MAX && part.length > 0) {
      yield { snapshot: part.map(toProtoSetting), more: true, changes: [], revision: 0n };
      part = [];
      bytes = sizeOf(setting);
    }
    part.push(setting);
  }
  yield { snapshot: part.map(toProtoSetting), more: false, changes: [], revision: BigInt(revision) };
}

function toMessage(changes: Setting[], revision: number): WatchSettingsResponse {
  return { snapshot: [], more: false, changes: changes.map(toProtoChange), revision: BigInt(revision) };
}
