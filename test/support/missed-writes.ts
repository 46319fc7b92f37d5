import type { TestRedis } from './redis.js';

/**
 * From now on the replica gets nothing of its master any more, as if the network between them were cut.
 * @returns what tells how many bytes of the replication it missed.
 */
export async function missWrites(master: TestRedis, replica: TestRedis): Promise<() => Promise<number>> {
  const [from, to] = [master.client(), replica.client()];
  await from.call('ACL', 'SETUSER', 'default', '-psync', '-sync');
  await from.call('CLIENT', 'KILL', 'TYPE', 'replica');
  return async () => offsetIn(await from.info('replication')) - offsetIn(await to.info('replication'));
}

function offsetIn(info: string): number {
  return Number(/^(?:slave_repl_offset|master_repl_offset):(\d+)/m.exec(info)?.[1]);
}
