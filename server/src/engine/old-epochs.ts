import type { RedisConnection } from '../redis/connection.js';
import { epochPrefix, oldEpochsKey } from '../redis/keys.js';

/** Keys looked at in one step. */
const PAGE = 1_000;

/** Removes what is left of epochs that are over. May end early, with an error; then somebody does it later. */
export async function removeOldEpochs(connection: RedisConnection, namespace: string): Promise<void> {
  const old = oldEpochsKey(namespace);
  for (const epoch of await connection.command<string[]>('SMEMBERS', old)) {
    await removeKeys(connection, `${literally(epochPrefix(namespace, epoch))}*`);
    await connection.command('SREM', old, epoch);
  }
}

async function removeKeys(connection: RedisConnection, pattern: string): Promise<void> {
  let cursor = '0';
  do {
    const [next, keys] = await connection.command<[string, string[]]>('SCAN', cursor, 'MATCH', pattern, 'COUNT', PAGE);
    if (keys.length > 0) await connection.command('UNLINK', ...keys);
    cursor = next;
  } while (cursor !== '0');
}

/** What stands for itself in a pattern. */
function literally(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}
