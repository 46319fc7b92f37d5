import { Redis, ReplyError } from 'ioredis';
import { addressOptions, REFUSED } from './client.js';
import { type ClusterNode, parseNodes } from './cluster-map.js';
import { checkVersion } from './connection.js';
import { type ClusterTarget, describeHost, type HostPort, nodeTarget } from './target.js';

const TIMEOUT_MS = 2_000;

/** Waiting does not mend this. */
export class NoUseToWait extends Error {}

/**
 * Asks one node of a cluster, over a connection of its own, what it knows of all.
 * @throws {NoUseToWait} for the operator; any other error: it cannot be reached now.
 */
export async function probeNode(target: ClusterTarget, node: HostPort): Promise<ClusterNode[]> {
  const redis = new Redis({
    ...addressOptions(nodeTarget(target, node)),
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    maxRetriesPerRequest: 0,
  });
  let last: Error | undefined;
  redis.on('error', (error: Error) => {
    last = error;
  });
  try {
    await redis.connect();
    checkCluster(await redis.info('server'), describeHost(node));
    return parseNodes((await redis.call('CLUSTER', 'NODES')) as string, node, target.tls);
  } catch (error) {
    throw explain(last ?? (error as Error), node);
  } finally {
    redis.disconnect();
  }
}

function checkCluster(info: string, address: string): void {
  try {
    checkVersion(info, address);
  } catch (error) {
    throw new NoUseToWait((error as Error).message);
  }
  if (/^(redis|server)_mode:(?!cluster)/m.test(info)) {
    throw new NoUseToWait(`the Redis at ${address} is not a node of a cluster: use redis:// in REDIS_URL, or name nodes of one`);
  }
}

function explain(error: Error, node: HostPort): Error {
  if (!(error instanceof ReplyError)) return error;
  if (REFUSED.test(error.message)) {
    return new NoUseToWait(
      `the Redis at ${describeHost(node)} refuses the log-in (${error.message}): correct the user and the password in REDIS_URL`,
      { cause: error },
    );
  }
  if (!/cluster support disabled/i.test(error.message)) return error;
  return new NoUseToWait(`the Redis at ${describeHost(node)} is not a node of a cluster: use redis:// in REDIS_URL, or name nodes of one`);
}
