import { renameSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The stores of the tax authority: files without any protection of their own, but that each is written whole or not at all. */

export interface Document {
  readonly version: number;
  /** Which transaction made which version. */
  readonly changes: readonly { readonly transaction: string; readonly version: number }[];
  /** The highest fencing token that has written it. */
  readonly token: string;
}

export interface JournalEntry {
  readonly kind: 'return' | 'letter';
  readonly transaction: string;
  readonly version: number;
}

export interface Letter {
  readonly transaction: string;
  readonly version: number;
}

let drafts = 0;

export class Stores {
  /**
   * @param beforeWrite called at the last moment before something is written: who holds a lock can throw if it may be lost.
   * A process that is frozen in the microseconds that are left wakes up and writes nevertheless. Only a store that checks the
   * fencing token by itself is safe from that; here that is the document store.
   */
  constructor(
    private readonly dir: string,
    private readonly beforeWrite: () => void = () => {},
  ) {}

  readDocument(customer: string): Promise<Document> {
    return this.#read(`documents/${customer}`, { version: 0, changes: [], token: '0' });
  }

  /**
   * The one store that checks: it refuses what an earlier holder of the lock brings. A real one compares and writes in one
   * step (see FencedStore); files cannot.
   */
  async writeDocument(customer: string, document: Document): Promise<void> {
    const { token } = await this.readDocument(customer);
    if (BigInt(document.token) < BigInt(token)) throw new Error(`${customer}: token ${document.token} is older than ${token}`);
    await this.#write(`documents/${customer}`, document);
  }

  readJournal(customer: string): Promise<JournalEntry[]> {
    return this.#read(`journal/${customer}`, []);
  }

  writeJournal(customer: string, entries: readonly JournalEntry[]): Promise<void> {
    return this.#write(`journal/${customer}`, entries);
  }

  readLetter(customer: string, transaction: string): Promise<Letter | undefined> {
    return this.#read(`letters/${customer}/${transaction}`, undefined);
  }

  writeLetter(customer: string, letter: Letter): Promise<void> {
    return this.#write(`letters/${customer}/${letter.transaction}`, letter);
  }

  readClosedTickets(customer: string): Promise<string[]> {
    return this.#read(`tickets/${customer}`, []);
  }

  writeClosedTickets(customer: string, transactions: readonly string[]): Promise<void> {
    return this.#write(`tickets/${customer}`, transactions);
  }

  readIndex(customer: string): Promise<number> {
    return this.#read(`index/${customer}`, 0);
  }

  writeIndex(customer: string, version: number): Promise<void> {
    return this.#write(`index/${customer}`, version);
  }

  /** Whether somebody began a transaction of the customer and did not finish it: the index is written last. */
  async isHalfDone(customer: string): Promise<boolean> {
    const [{ version }, indexed] = await Promise.all([this.readDocument(customer), this.readIndex(customer)]);
    return version !== indexed;
  }

  async #read<T>(path: string, fallback: T): Promise<T> {
    try {
      return JSON.parse(await readFile(join(this.dir, path), 'utf8')) as T;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return fallback;
      throw error;
    }
  }

  /** By way of a file of its own, so that a process that is killed leaves no half of one. */
  async #write(path: string, value: unknown): Promise<void> {
    const target = join(this.dir, path);
    const draft = `${target}.${process.pid}.${drafts++}`;
    await mkdir(dirname(target), { recursive: true });
    await writeFile(draft, JSON.stringify(value));
    this.beforeWrite();
    renameSync(draft, target); // not in the background, where it would wait for its turn
  }
}
