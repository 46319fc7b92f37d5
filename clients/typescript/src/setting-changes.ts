import { randomUUID } from 'node:crypto';
import type { Connection } from './connection.js';
import { StafettError } from './errors.js';
import type { Link } from './link.js';

/** How often a change is asked for again because somebody else was faster, before it is given up. */
const OVERTAKEN_MAX = 100;

export interface ChangeSettingOptions {
  /** Only if the setting has this revision; `0n`: only if there is none. Else SETTING_REVISION_MISMATCH, and nothing is changed. */
  readonly ifRevision?: bigint;
  /** Who does it; shown in the history. Default: the name and host of this client. */
  readonly author?: string;
  readonly signal?: AbortSignal;
}

interface Change {
  readonly ifRevision: bigint | undefined;
  readonly ifUnchangedSince: bigint;
  readonly author: string;
  readonly requestId: string;
}

/**
 * Makes changes of settings. Each request says what was the newest when it was sent, so that what a server that stood still carries out late
 * does not undo what came after it. Whoever waits for an answer means to overwrite whatever there is, and asks again.
 */
export class SettingChanges {
  readonly #connection: Connection;
  /** The highest revision that this client was told of. */
  #seen = 0n;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  see(revision = 0n): void {
    if (revision > this.#seen) this.#seen = revision;
  }

  /** @throws {StafettError} SETTING_REVISION_MISMATCH */
  async make<T>(
    { ifRevision, author = this.#connection.author, signal }: ChangeSettingOptions,
    send: (link: Link, change: Change, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const requestId = randomUUID();
    for (let overtaken = 0; ; overtaken++) {
      const change = { ifRevision, author, requestId, ifUnchangedSince: this.#seen };
      try {
        return await this.#connection.call((link, ended) => send(link, change, ended), signal);
      } catch (error) {
        if (error instanceof StafettError && error.reason === 'GRACE_PERIOD') {
          await this.#connection.pause(error.retryDelayMs ?? 0, signal);
          continue;
        }
        const changed = overtaken < OVERTAKEN_MAX && changedMeanwhile(error, ifRevision);
        if (!changed) throw error;
        this.see(changed);
      }
    }
  }
}

/** The revision of a change that is no reason not to make this one. */
function changedMeanwhile(error: unknown, ifRevision: bigint | undefined): bigint | undefined {
  if (!(error instanceof StafettError) || error.reason !== 'SETTING_REVISION_MISMATCH') return undefined;
  const { revision = '', change_revision: changed } = error.metadata;
  if (changed === undefined || (ifRevision !== undefined && revision !== String(ifRevision))) return undefined;
  return BigInt(changed);
}
