import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { RedisConnection } from '../redis/connection.js';
import { epochPrefix, gateKey, namespacePrefix } from '../redis/keys.js';
import type { Masters } from '../redis/masters.js';
import { TOLERANCE_MS } from '../redis/redis-clock.js';
import type { Library } from '../redis/scripts.js';
import { slotOf } from '../redis/slots.js';
import type { Pass } from './commands.js';
import { firstGraceUntil, testify } from './first-grace.js';
import { removeOldEpochs } from './old-epochs.js';

export interface EpochOptions {
  readonly namespace: string;
  readonly masters: Masters;
  readonly library: Library;
  readonly logger: Logger;
  /** How long a session may outlive the loss of Redis' data, ms. */
  readonly graceMs: number;
  /** The first Redis process that this server meets is known to have been used by nobody before. */
  readonly redisIsNew: boolean;
  /** There is another one than before: whatever Redis knew of the namespace is gone. */
  onChange(): void;
}

/** Epochs that are remembered after they were left. */
const LEFT_MAX = 100;

/** What to show to Redis, to which one, and the prefix of the keys. */
export interface FullPass extends Pass {
  readonly prefix: string;
  readonly connection: RedisConnection;
}

/**
 * What this server believes of one namespace's epoch: one life of its data in Redis. A restart, a flush, a fail-over and a
 * jump of the clock of Redis' host each begin another, with a grace period in which those who held or waited for
 * something say so again, and nothing new is granted. (The idea is Chubby's: Burrows, "The Chubby lock service", 2006, §2.9.)
 */
export class Epoch {
  readonly #options: EpochOptions;
  #id = '';
  /** The life of Redis' data that it is in. */
  #run = '';
  /** The last one that was believed in. */
  #last = '';
  /** Those that have to go, though Redis has one of them: what was believed in before, and what is void. The latest ones. */
  #left: string[] = [];
  /** When Redis agreed last, by `performance.now()`. */
  #confirmedAt = 0;
  readonly #slot: number;
  #entering: Promise<void> | undefined;

  constructor(options: EpochOptions) {
    this.#options = options;
    this.#slot = slotOf(namespacePrefix(options.namespace));
  }

  /** The master that has the namespace now. */
  get connection(): RedisConnection {
    return this.#options.masters.at(this.#slot);
  }

  /** The last one that this server believed in; '' before the first. */
  get id(): string {
    return this.#last;
  }

  /** The key of what Redis knows of it. */
  get gate(): string {
    return gateKey(this.#options.namespace);
  }

  /** Learns it first, or begins an epoch, if need be. @throws {StafettError} REDIS_UNAVAILABLE */
  pass(): FullPass | Promise<FullPass> {
    return this.#isKnown ? this.#pass() : this.#passAfterEntering();
  }

  get #isKnown(): boolean {
    return this.#id !== '' && this.#run === this.connection.run;
  }

  async #passAfterEntering(): Promise<FullPass> {
    while (!this.#isKnown) {
      this.#entering ??= this.#enter().finally(() => {
        this.#entering = undefined;
      });
      await this.#entering;
    }
    return this.#pass();
  }

  #pass(): FullPass {
    const { connection } = this;
    const prefix = epochPrefix(this.#options.namespace, this.#id);
    return { prefix, connection, epoch: this.#id, run: this.#run, expected: connection.clock.expected(), toleranceMs: TOLERANCE_MS };
  }

  /** Redis carried out what was sent then, by `performance.now()`. */
  confirm(sentAt: number): void {
    this.#confirmedAt = sentAt;
  }

  /** Redis has another epoch than this one, or none. */
  doubt(id: string): void {
    if (this.#id === id) this.#id = '';
  }

  /** The deadlines in Redis mean nothing any more. */
  replace(): void {
    this.#leave(this.#last);
    this.#id = '';
  }

  /** Never to be believed in again: a master that comes back may have it still, and knows nothing of what others granted meanwhile. */
  #leave(id: string): void {
    this.#left = [...this.#left.slice(1 - LEFT_MAX), id];
  }

  /**
   * The slot is being moved to another master. Lets no server go on in this epoch before one has looked whether all of it arrived: also if the
   * move is given up half way. Whoever is refused because of the move calls this.
   */
  async suspend(): Promise<void> {
    await this.#options.masters.cluster?.toKey(this.#slot, 'HDEL', this.gate, 'run');
  }

  /** Does Redis know of any epoch? @throws {StafettError} REDIS_UNAVAILABLE, also while the slot is on the move */
  async isThere(): Promise<boolean> {
    return (await this.connection.command<number>('EXISTS', namespacePrefix(this.#options.namespace), this.gate)) > 0;
  }

  async #enter(): Promise<void> {
    const { namespace, library, logger, graceMs, onChange } = this.#options;
    const { connection } = this;
    await connection.look(); // servers that name its life differently would replace each other's epochs
    const { run } = connection;
    const own = randomBytes(6).toString('base64url');
    const firstUntil = this.#last === '' ? await firstGraceUntil(connection, { ...this.#options, slot: this.#slot }) : '';
    const whole = await this.#whatCameWhole(connection);
    const args = [this.#left.join(' '), run, own, graceMs, firstUntil, await this.#oldest(connection), ...whole];
    const reply = await connection.callFunction(library, 'epoch', [namespacePrefix(namespace), this.gate], args);
    if (connection !== this.connection || connection.run !== run) return; // and asks the next one
    const [id = '', graceUntil = '0', , now = '0'] = (reply as Buffer[]).map(String);
    this.#id = id;
    this.#run = run;
    const before = this.#last;
    if (before !== '' && before !== id) this.#leave(before);
    this.#last = id;
    if (id === own) {
      const graceLeftMs = Math.max(0, Number(graceUntil) - Number(now));
      const facts = { namespace, epoch: id, graceMs: graceLeftMs };
      if (graceLeftMs === 0) logger.debug(facts, 'the first epoch of the namespace begins');
      else logger.warn(facts, 'Redis may have lost data: a new epoch begins; until the grace period is over nothing new is granted');
      // Without it the next namespace waits in vain.
      if (!this.#options.masters.cluster) await testify(connection, { run, graceUntil: Number(graceUntil) }).catch(() => {});
      this.#tidyUp();
    }
    if (before !== '' && before !== id) onChange();
  }

  /** Since when an epoch must have begun, by the clock of Redis, ms. Of a master that this server came back to, an older one knows nothing of what others granted meanwhile. */
  async #oldest(connection: RedisConnection): Promise<number> {
    const { leftMs } = connection;
    return leftMs === undefined ? 0 : Math.floor((await connection.time()) - leftMs);
  }

  /** The epoch that has moved here with its slot, and the process where it was: if it is known that nothing of it was lost. */
  async #whatCameWhole(connection: RedisConnection): Promise<[epoch: string, from: string]> {
    const { masters } = this.#options;
    if (!masters.cluster) return ['', ''];
    await this.isThere(); // is refused while the slot is on the move
    const [id, run, last] = await connection.command<(string | null)[]>('HMGET', this.gate, 'id', 'run', 'last');
    if (!id || !last || id !== this.#last || run === connection.run) return ['', ''];
    return (await masters.cluster.cameWhole(this.#slot, last, this.#confirmedAt)) ? [id, last] : ['', ''];
  }

  /** In the background; what fails is done when the next epoch begins. */
  #tidyUp(): void {
    const { namespace, logger } = this.#options;
    removeOldEpochs(this.connection, namespace).catch((error: Error) => {
      logger.debug({ namespace, problem: error.message }, 'could not remove all that is left of old epochs');
    });
  }
}
