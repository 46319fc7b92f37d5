/**
 * The only place where names of Redis keys and channels are made. All keys of a namespace carry the namespace as their
 * hash tag, so that they live in one slot of a cluster and every script is atomic. What stands behind the prefix is
 * listed in `engine/scripts/state.lua`.
 */

/**
 * No key has a prefix alone as its name. Each call declares one all the same: a master whose slot is being moved refuses a call one of whose
 * keys it does not have, so that nothing is done on half of the data.
 */
export function namespacePrefix(namespace: string): string {
  return `stafett:{${namespace}}:`;
}

/** Of the keys of one epoch: what is left of another one is never met. */
export function epochPrefix(namespace: string, epoch: string): string {
  return `${namespacePrefix(namespace)}${epoch}:`;
}

/** The namespace and the epoch of a prefix that `epochPrefix` made. */
export function parseEpochPrefix(prefix: string): { namespace: string; epoch: string } {
  const end = prefix.lastIndexOf('}:');
  return { namespace: prefix.slice('stafett:{'.length, end), epoch: prefix.slice(end + 2, -1) };
}

/** Which epoch the namespace is in. */
export function gateKey(namespace: string): string {
  return `${namespacePrefix(namespace)}gate`;
}

/** Epochs of the namespace that are over, and whose keys may have to be removed. */
export function oldEpochsKey(namespace: string): string {
  return `${namespacePrefix(namespace)}old`;
}

/** The life of a Redis' data in which an epoch began, and until when its grace period is: as long as it is there nothing was lost. */
export const WITNESS_KEY = 'stafett:witness';

export interface Witness {
  readonly run: string;
  /** By the clock of Redis, ms; 0 if there was none. */
  readonly graceUntil: number;
}

export function formatWitness({ run, graceUntil }: Witness): string {
  return `${run} ${graceUntil}`;
}

export function parseWitness(text: string | null): Witness | undefined {
  const [run = '', graceUntil = '0'] = text?.split(' ') ?? [];
  return run === '' ? undefined : { run, graceUntil: Number(graceUntil) };
}

/** Where a server hears of events that other servers caused. */
export function serverChannel(serverId: string): string {
  return `stafett:server:${serverId}`;
}

/** What is published in a channel, on its way. */
export function eventsChannel(namespace: string, channel: string): string {
  return `${namespacePrefix(namespace)}events:${channel}`;
}

/** Where all servers hear of changes of settings, of all namespaces. */
export const SETTINGS_CHANNEL = 'stafett:settings';

/** Where a server says how other servers reach it. */
export function peerKey(serverId: string): string {
  return `stafett:peer:${serverId}`;
}

/** A set of all namespaces that were ever used, so that a new server cleans up in them too. */
export const NAMESPACES_KEY = 'stafett:namespaces';
