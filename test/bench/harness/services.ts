import type { Backend, Endpoints } from '../contenders/contender.js';
import type { CleanupStack } from './cleanup.js';
import { findPostgres, type PostgresServer, startPostgres } from './postgres-server.js';
import { type RedisServer, startRedis } from './redis-server.js';
import { type StafettServer, startStafett } from './stafett-server.js';

/** The servers of one run of the bench. */
export interface Services {
  redis: RedisServer;
  stafett?: StafettServer;
  postgres?: PostgresServer;
}

/** Starts what the contenders need; without PostgreSQL its contender is left out. */
export async function startServices(
  backends: ReadonlySet<Backend>,
  cleanup: CleanupStack,
  stafettNodeArgs: readonly string[],
): Promise<Services> {
  const services: Services = { redis: await startRedis(cleanup) };
  if (backends.has('stafett')) services.stafett = await startStafett(services.redis.url, cleanup, stafettNodeArgs);
  if (backends.has('postgres')) {
    const directory = findPostgres();
    if (directory === undefined)
      process.stderr.write('no PostgreSQL here, its figures are left out (Debian: apt-get install postgresql)\n');
    else services.postgres = await startPostgres(directory, cleanup);
  }
  return services;
}

/** What the child processes are told of the servers. */
export function endpointsOf(services: Services): Endpoints {
  const endpoints: Endpoints = { redisUrl: services.redis.url };
  if (services.stafett !== undefined) endpoints.stafettAddress = services.stafett.grpcAddress;
  if (services.postgres !== undefined) {
    const { host, port, user, database } = services.postgres;
    endpoints.postgres = { host, port, user, database };
  }
  return endpoints;
}
