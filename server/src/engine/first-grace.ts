import type { RedisConnection } from '../redis/connection.js';
import { formatWitness, parseWitness, WITNESS_KEY, type Witness } from '../redis/keys.js';
import type { Masters } from '../redis/masters.js';

export interface FirstGraceOptions {
  readonly masters: Masters;
  readonly slot: number;
  /** How long a session may outlive the loss of Redis' data, ms. */
  readonly graceMs: number;
  /** The first Redis process that this server meets is known to have been used by nobody before. */
  readonly redisIsNew: boolean;
}

/**
 * Until when a namespace that neither Redis nor this server has heard of has its grace period, by the clock of Redis, ms; 0 if it cannot have
 * been used before.
 */
export async function firstGraceUntil(
  connection: RedisConnection,
  { masters, slot, graceMs, redisIsNew }: FirstGraceOptions,
): Promise<number> {
  if (masters.cluster) {
    // The slot may have had another master, which lost it: what this one knows of itself says nothing.
    const leftMs = graceMs - (await masters.cluster.watchedMs(slot));
    return leftMs > 0 ? (await connection.time()) + leftMs : 0;
  }
  const isFirst = connection.metMs === Number.POSITIVE_INFINITY;
  if (redisIsNew && isFirst) return 0;
  // One that this server comes back to says nothing of what was used elsewhere meanwhile.
  const lowest = isFirst ? 0 : (await connection.time()) - connection.metMs + graceMs;
  const witness = await readWitness(connection);
  // Holders of a namespace that was lost as well may not have come yet.
  if (witness?.run === connection.run) return Math.max(witness.graceUntil, Math.ceil(lowest));
  const { now, upMs, flushed, wasReplica } = await connection.past();
  return Math.max((flushed || wasReplica ? now : now - upMs) + graceMs, Math.ceil(lowest));
}

/** An epoch began: for the namespaces that begin after this one. */
export async function testify(connection: RedisConnection, own: Witness): Promise<void> {
  const other = await readWitness(connection);
  if (other?.run === own.run && other.graceUntil >= own.graceUntil) return;
  await connection.command('SET', WITNESS_KEY, formatWitness(own));
}

export async function readWitness(connection: RedisConnection): Promise<Witness | undefined> {
  return parseWitness(await connection.command<string | null>('GET', WITNESS_KEY));
}
