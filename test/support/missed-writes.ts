import type { TestRedis } from './redis.js';

/** From now on its replicas get nothing of this master any more, as if the network between them were cut. Until it is started again. */
export async function cutReplication(master: TestRedis): Promise<void> {
  const client = master.client();
  await client.call('ACL', 'SETUSER', 'default', '-psync', '-sync');
  await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
  client.disconnect();
}

/**
 * `cutReplication`.
 * @returns what tells how many bytes of it this replica missed.
 */
export async function missWrites(master: TestRedis, replica: TestRedis): Promise<() => Promise<number>> {
  await cutReplication(master);
  const [from, to] = [master.client(), replica.client()];
  return async () => offsetIn(await from.info('replication')) - offsetIn(await to.info('replication'));
}

function offsetIn(info: string): number {
  return Number(/^(?:slave_repl_offset|master_repl_offset):(\d+)/m.exec(info)?.[1]);
}
