import type { Connection } from './connection.js';
import { StafettError } from './errors.js';
import { follow } from './follow.js';
import type { WatchSettingsResponse } from './gen/stafett/v1/setting.js';
import type { Link } from './link.js';
import { type SettingEvent, type SettingView, toSettingView } from './setting-views.js';

export interface SettingWatchOptions {
  readonly prefix: string;
  readonly signal?: AbortSignal | undefined;
  /** Told each time that a stream is opened, over a link. */
  onOpen?(link: Link): void;
  /** Told each message. */
  onHeard?(): void;
}

/** The settings below a prefix and then every change, through however many connections it takes. */
export async function* watchSettings(connection: Connection, options: SettingWatchOptions): AsyncGenerator<SettingEvent, void, undefined> {
  const news = new SettingNews();
  while (true) {
    try {
      yield* stream(connection, options, news);
    } catch (error) {
      const { reason } = StafettError.from(error);
      if (reason === 'REVISION_UNAVAILABLE') news.begin();
      else if (reason !== 'STREAM_LIMIT') throw error;
    }
  }
}

async function* stream(connection: Connection, { prefix, signal, onOpen, onHeard }: SettingWatchOptions, news: SettingNews) {
  const open = (link: Link, ended: AbortSignal) => {
    onOpen?.(link);
    return link.settings.watchSettings({ prefix, fromRevision: news.open() }, { signal: ended });
  };
  for await (const message of follow(connection, { until: Number.POSITIVE_INFINITY, signal, open })) {
    onHeard?.();
    yield* news.of(message);
  }
}

/** Tells what is new in what servers tell. */
class SettingNews {
  #revision = 0n;
  #wasTold = false;
  #parts: SettingView[] | undefined;

  /** From where the next stream is to go on; 0: with a snapshot. */
  open(): bigint {
    this.#parts = this.#revision === 0n ? [] : undefined;
    return this.#revision;
  }

  /** What has happened since the last revision is not known any more. */
  begin(): void {
    this.#revision = 0n;
  }

  *of({ snapshot, more, changes, revision }: WatchSettingsResponse): Generator<SettingEvent> {
    if (this.#parts) {
      this.#parts.push(...snapshot.map(toSettingView));
      if (more) return;
      const event = { type: 'snapshot', settings: this.#parts, reset: this.#wasTold } as const;
      this.#parts = undefined;
      this.#wasTold = true;
      this.#revision = revision;
      yield event;
      return;
    }
    this.#revision = revision; // whoever stops in between has no use for it
    for (const { setting, deleted } of changes) {
      if (setting) yield { type: deleted ? 'deleted' : 'set', setting: toSettingView(setting) };
    }
  }
}
