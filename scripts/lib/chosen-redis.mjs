import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { stateDir } from './project.mjs';
import { Stop } from './steps.mjs';

/** The command line that may stand beside a server. */
const COMMAND_LINES = ['valkey-cli', 'redis-cli'];

/**
 * Puts the Redis or Valkey server of STAFETT_TEST_REDIS_PROGRAM in front of all others on the PATH, with the command line beside it. So
 * whatever looks for a server takes this one: tests, sentinels, clusters, and the embedded one of the server under test.
 * @returns its path, or undefined if none was chosen.
 * @throws {Stop} if it is none that can be run.
 */
export function useChosenRedis() {
  const chosen = process.env.STAFETT_TEST_REDIS_PROGRAM || undefined;
  if (chosen === undefined) return undefined;
  const program = resolve(chosen);
  try {
    accessSync(program, constants.X_OK);
  } catch {
    throw new Stop(`STAFETT_TEST_REDIS_PROGRAM is '${chosen}'; it must be the path of a redis-server or valkey-server`);
  }
  const dir = join(stateDir, `redis-${createHash('sha256').update(program).digest('hex').slice(0, 12)}`);
  mkdirSync(dir, { recursive: true });
  link(program, join(dir, 'redis-server'));
  const commandLine = COMMAND_LINES.map((name) => join(dirname(program), name)).find((file) => existsSync(file));
  if (commandLine !== undefined) link(commandLine, join(dir, 'redis-cli'));
  process.env.PATH = `${dir}${delimiter}${process.env.PATH ?? ''}`;
  return program;
}

function link(target, path) {
  try {
    symlinkSync(target, path);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}
