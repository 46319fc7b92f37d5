import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Setting } from './mirror.js';

/** What a server knew of the settings of one namespace. */
export interface Saved {
  readonly epoch: string;
  readonly revision: number;
  readonly settings: readonly Setting[];
}

/** How long after a change it is written, ms: a burst of changes is one file. */
const DELAY_MS = 200;
const VERSION = 1;
const EXTENSION = '.json';

const SETTING = z.object({
  key: z.string(),
  value: z.string(),
  revision: z.number(),
  time: z.number(),
  author: z.string(),
  request: z.string(),
});
const FILE = z.object({ version: z.literal(VERSION), epoch: z.string(), revision: z.number(), settings: z.array(SETTING) });

/** One file for each namespace, so that settings outlive a restart of everything at once. Each is written whole or not at all. */
export class SnapshotFiles {
  readonly #dir: string;
  readonly #logger: Logger;
  readonly #due = new Map<string, { save: () => Saved; timer: NodeJS.Timeout }>();
  #writing: Promise<void> = Promise.resolve();

  constructor(dir: string, logger: Logger) {
    this.#dir = dir;
    this.#logger = logger;
  }

  /** @throws {Error} for the operator: the directory is not there, or a file is not one of ours. */
  async load(): Promise<Map<string, Saved>> {
    const saved = new Map<string, Saved>();
    for (const name of await this.#names()) {
      const path = join(this.#dir, name);
      try {
        saved.set(name.slice(0, -EXTENSION.length), FILE.parse(JSON.parse(await readFile(path, 'utf8'))));
      } catch (error) {
        throw new Error(`${path} is no snapshot of settings (${(error as Error).message}): mend it, or remove it`, { cause: error });
      }
    }
    return saved;
  }

  /** Soon. What is to be written is asked for then. */
  schedule(namespace: string, save: () => Saved): void {
    if (this.#due.has(namespace)) return;
    this.#due.set(namespace, { save, timer: setTimeout(() => this.#write(namespace), DELAY_MS).unref() });
  }

  /** Writes what is due, and resolves when it is written. */
  async flush(): Promise<void> {
    for (const [namespace, { timer }] of this.#due) {
      clearTimeout(timer);
      this.#write(namespace);
    }
    await this.#writing;
  }

  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.#dir)).filter((name) => name.endsWith(EXTENSION));
    } catch (error) {
      throw new Error(`STAFETT_SETTINGS_DIR ${this.#dir} cannot be read (${(error as Error).message}): create it`, { cause: error });
    }
  }

  #write(namespace: string): void {
    const save = this.#due.get(namespace)?.save;
    this.#due.delete(namespace);
    if (!save) return;
    this.#writing = this.#writing.then(() => this.#writeFile(namespace, save()));
  }

  async #writeFile(namespace: string, saved: Saved): Promise<void> {
    const path = join(this.#dir, `${namespace}${EXTENSION}`);
    const draft = `${path}.${process.pid}.tmp`;
    try {
      const file = await open(draft, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify({ version: VERSION, ...saved }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, path);
    } catch (error) {
      this.#logger.error({ err: error, path }, 'the settings could not be written to a file');
      await rm(draft, { force: true }).catch(() => {});
    }
  }
}
