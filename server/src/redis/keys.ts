/**
 * The only place where names of Redis keys and channels are made. All keys of a namespace carry the namespace as their
 * hash tag, so that they live in one slot of a cluster and every script is atomic. What stands behind the prefix is
 * listed in `engine/scripts/state.lua`.
 */

export function namespacePrefix(namespace: string): string {
  return `stafett:{${namespace}}:`;
}

/** The namespace of a prefix that `namespacePrefix` made. */
export function namespaceOf(prefix: string): string {
  return prefix.slice('stafett:{'.length, -'}:'.length);
}

/** Where a server hears of events that other servers caused. */
export function serverChannel(serverId: string): string {
  return `stafett:server:${serverId}`;
}

/** A set of all namespaces that were ever used, so that a new server cleans up in them too. */
export const NAMESPACES_KEY = 'stafett:namespaces';
