import { fileURLToPath } from 'node:url';

/** The repository. */
export const repositoryRoot = fileURLToPath(new URL('../../..', import.meta.url));

/** The program of the child processes. */
export const workerPath = fileURLToPath(new URL('../worker.ts', import.meta.url));
