import { defaultRedisKind, RUN_VARIABLE } from './redis-kind.js';

/** Runs once around all tests, in vitest's own process. No container outlives it, not even of tests that were killed. */
export default async function setup(): Promise<() => Promise<void>> {
  process.env[RUN_VARIABLE] = String(process.pid);
  if (defaultRedisKind() !== 'docker') return async () => {};
  const { removeContainers } = await import('./redis-docker.js');
  await removeContainers();
  return () => removeContainers(process.pid);
}
