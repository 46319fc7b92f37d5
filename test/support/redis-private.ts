import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { freePort } from './ports.js';
import { plainEnv, startProcess, type TestProcess } from './process.js';
import type { RedisBackend } from './redis-backend.js';

const PROGRAMS = ['redis-server', 'valkey-server'];

/** A redis-server (or valkey-server) of this machine, as a child process without a disk. */
export async function createPrivateRedis(args: readonly string[]): Promise<RedisBackend> {
  const program = findProgram();
  const port = await freePort();
  const config = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--daemonize', 'no'];
  let running: TestProcess | undefined;
  return {
    kind: 'private',
    host: '127.0.0.1',
    port,
    start: async () => {
      running = startProcess(program, [...config, ...args], plainEnv());
    },
    signal: async (signal) => void running?.child.kill(signal),
    ended: async () => void (await running?.exited),
    remove: async () => void (await running?.kill('SIGKILL')),
    owns: (info) => info.includes(`process_id:${running?.pid}\r\n`),
    problem: async () => (running?.ended ? `${program} ended: ${running.stdout()}${running.stderr()}` : undefined),
  };
}

function findProgram(): string {
  const dirs = (process.env.PATH ?? '').split(delimiter);
  const program = PROGRAMS.flatMap((name) => dirs.map((dir) => join(dir, name))).find((file) => existsSync(file));
  if (program === undefined) throw new Error(`neither ${PROGRAMS.join(' nor ')} is on the PATH; \`npm test\` installs one`);
  return program;
}
