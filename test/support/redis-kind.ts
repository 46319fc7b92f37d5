export type RedisKind = 'docker' | 'private';

/** STAFETT_TEST_REDIS, which `npm test` sets to what the machine has. */
export function defaultRedisKind(): RedisKind {
  const kind = process.env.STAFETT_TEST_REDIS || 'private';
  if (kind !== 'docker' && kind !== 'private') throw new Error(`STAFETT_TEST_REDIS must be docker or private, and is '${kind}'`);
  return kind;
}

/** Names the process id of the run, for the processes that its tests are in. Set by global-setup.ts. */
export const RUN_VARIABLE = 'STAFETT_TEST_RUN';
