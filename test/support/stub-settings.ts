import type {
  Setting,
  SettingServiceClient,
  WatchSettingsRequest,
  WatchSettingsResponse,
} from '../../server/src/gen/stafett/v1/setting.js';

/** Reads a watch of settings along in the background. */
export class StubSettingWatch {
  readonly messages: WatchSettingsResponse[] = [];
  readonly ended: Promise<unknown>;
  readonly #controller = new AbortController();

  constructor(settings: SettingServiceClient, request: Partial<WatchSettingsRequest> = {}) {
    const read = async () => {
      for await (const message of settings.watchSettings(request, { signal: this.#controller.signal })) this.messages.push(message);
    };
    // What ends it, or undefined for OK.
    this.ended = read().catch((error: unknown) => error);
  }

  stop(): void {
    this.#controller.abort();
  }

  get revision(): bigint {
    return this.messages.at(-1)?.revision ?? 0n;
  }

  get snapshot(): Setting[] {
    return this.messages.flatMap(({ snapshot }) => snapshot);
  }

  /** Key and value of each change; null: deleted. */
  get changes(): [key: string, value: unknown][] {
    return this.messages.flatMap(({ changes }) =>
      changes.map(({ setting, deleted }): [string, unknown] => [setting?.key ?? '', deleted ? null : JSON.parse(setting?.value ?? '')]),
    );
  }
}
