import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { RedisConnection } from '../redis/connection.js';
import { epochPrefix, formatWitness, gateKey, namespacePrefix, parseWitness, WITNESS_KEY, type Witness } from '../redis/keys.js';
import type { Library } from '../redis/scripts.js';
import type { Pass } from './commands.js';
import { removeOldEpochs } from './old-epochs.js';
import type { RedisClock } from './redis-clock.js';

/** By how much a call may come earlier or later than expected before the clock of Redis is looked at, ms: less than any client's margin. */
const TOLERANCE_MS = 200;

export interface EpochOptions {
  readonly namespace: string;
  readonly connection: RedisConnection;
  readonly clock: RedisClock;
  readonly library: Library;
  readonly logger: Logger;
  /** How long a session may outlive the loss of Redis' data, ms. */
  readonly graceMs: number;
  /** The first Redis process that this server meets is known to have been used by nobody before. */
  readonly redisIsNew: boolean;
  /** There is another one than before: whatever Redis knew of the namespace is gone. */
  onChange(): void;
}

/**
 * What this server believes of one namespace's epoch: one life of its data in Redis. A restart, a flush, a fail-over and a
 * jump of the clock of Redis' host each begin another, with a grace period in which those who held or waited for
 * something say so again, and nothing new is granted. (The idea is Chubby's: Burrows, "The Chubby lock service", 2006, §2.9.)
 */
export class Epoch {
  readonly #options: EpochOptions;
  #id = '';
  /** The Redis process that it lives in. */
  #run = '';
  /** The last one that was believed in. */
  #last = '';
  /** One that has to go, though Redis has it. */
  #replaced = '';
  #entering: Promise<void> | undefined;

  constructor(options: EpochOptions) {
    this.#options = options;
  }

  /** The last one that this server believed in; '' before the first. */
  get id(): string {
    return this.#last;
  }

  /** The key of what Redis knows of it. */
  get gate(): string {
    return gateKey(this.#options.namespace);
  }

  /** What to show to Redis, and the prefix of the keys. Learns it first, or begins an epoch, if need be. @throws {StafettError} REDIS_UNAVAILABLE */
  pass(): (Pass & { prefix: string }) | Promise<Pass & { prefix: string }> {
    return this.#isKnown ? this.#pass() : this.#passAfterEntering();
  }

  get #isKnown(): boolean {
    return this.#id !== '' && this.#run === this.#options.connection.run;
  }

  async #passAfterEntering(): Promise<Pass & { prefix: string }> {
    while (!this.#isKnown) {
      this.#entering ??= this.#enter().finally(() => {
        this.#entering = undefined;
      });
      await this.#entering;
    }
    return this.#pass();
  }

  #pass(): Pass & { prefix: string } {
    const prefix = epochPrefix(this.#options.namespace, this.#id);
    return { prefix, epoch: this.#id, run: this.#run, expected: this.#options.clock.expected(), toleranceMs: TOLERANCE_MS };
  }

  /** Redis has another epoch than this one, or none. */
  doubt(id: string): void {
    if (this.#id === id) this.#id = '';
  }

  /** The deadlines in Redis mean nothing any more. */
  replace(): void {
    this.#replaced = this.#last;
    this.#id = '';
  }

  async #enter(): Promise<void> {
    const { namespace, connection, library, logger, onChange } = this.#options;
    const { run } = connection;
    const own = randomBytes(6).toString('base64url');
    const firstUntil = this.#last === '' ? await this.#firstGraceUntil(run) : '';
    const args = [this.#replaced, run, own, this.#options.graceMs, firstUntil, namespacePrefix(namespace)];
    const reply = await connection.callFunction(library, 'epoch', [this.gate], args);
    if (connection.run !== run) return; // and asks the next one
    const [id = '', graceUntil = '0', , now = '0'] = (reply as Buffer[]).map(String);
    this.#id = id;
    this.#run = run;
    this.#replaced = '';
    const before = this.#last;
    this.#last = id;
    if (id === own) {
      const graceLeftMs = Math.max(0, Number(graceUntil) - Number(now));
      const facts = { namespace, epoch: id, graceMs: graceLeftMs };
      if (graceLeftMs === 0) logger.debug(facts, 'the first epoch of the namespace begins');
      else logger.warn(facts, 'Redis may have lost data: a new epoch begins; until the grace period is over nothing new is granted');
      await this.#testify({ run, graceUntil: Number(graceUntil) }).catch(() => {}); // without it the next namespace waits in vain
      this.#tidyUp();
    }
    if (before !== '' && before !== id) onChange();
  }

  /** For the namespaces that begin after this one. */
  async #testify(own: Witness): Promise<void> {
    const other = await this.#witness();
    if (other?.run === own.run && other.graceUntil >= own.graceUntil) return;
    await this.#options.connection.command('SET', WITNESS_KEY, formatWitness(own));
  }

  async #witness(): Promise<Witness | undefined> {
    return parseWitness(await this.#options.connection.command<string | null>('GET', WITNESS_KEY));
  }

  /** In the background; what fails is done when the next epoch begins. */
  #tidyUp(): void {
    const { connection, namespace, logger } = this.#options;
    removeOldEpochs(connection, namespace).catch((error: Error) => {
      logger.debug({ namespace, problem: error.message }, 'could not remove all that is left of old epochs');
    });
  }

  /**
   * Until when a namespace that neither Redis nor this server has heard of has its grace period, by the clock of Redis, ms; 0 if it
   * cannot have been used before.
   */
  async #firstGraceUntil(run: string): Promise<number> {
    const { connection, redisIsNew, graceMs } = this.#options;
    if (redisIsNew && connection.isFirstRun) return 0;
    const witness = await this.#witness();
    // Holders of a namespace that was lost as well may not have come yet.
    if (witness?.run === run) return witness.graceUntil;
    const { now, upMs, flushed, wasReplica } = await connection.past();
    return (flushed || wasReplica ? now : now - upMs) + graceMs;
  }
}
