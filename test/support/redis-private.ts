import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort } from './ports.js';
import { plainEnv, startProcess, type TestProcess } from './process.js';
import type { RedisBackend } from './redis-backend.js';

const PROGRAMS = ['redis-server', 'valkey-server'];
const COMMAND_LINES = ['redis-cli', 'valkey-cli'];

/** A redis-server (or valkey-server) of this machine, as a child process without a disk. */
export async function createPrivateRedis(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RedisBackend> {
  const program = findRedisProgram();
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), 'stafett-redis-')); // a replica writes there what it gets, and any Redis reads that when it starts
  const config = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--daemonize', 'no', '--dir', dir];
  let running: TestProcess | undefined;
  return {
    kind: 'private',
    host: '127.0.0.1',
    port,
    start: async () => {
      running = startProcess(program, [...config, ...args], plainEnv(env));
    },
    signal: async (signal) => void running?.child.kill(signal),
    ended: async () => void (await running?.exited),
    remove: async () => {
      await running?.kill('SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
    owns: (info) => info.includes(`process_id:${running?.pid}\r\n`),
    problem: async () => (running?.ended ? `${program} ended: ${running.stdout()}${running.stderr()}` : undefined),
  };
}

export function findRedisProgram(): string {
  return find(PROGRAMS, '`npm test` installs one');
}

/** The command line of Redis or Valkey, which comes with the server, or in a package beside it (Debian: redis-tools). */
export function findRedisCommandLine(): string {
  return find(COMMAND_LINES, 'install redis-tools, or what comes with your redis-server');
}

function find(programs: readonly string[], cure: string): string {
  const dirs = (process.env.PATH ?? '').split(delimiter);
  const program = programs.flatMap((name) => dirs.map((dir) => join(dir, name))).find((file) => existsSync(file));
  if (program === undefined) throw new Error(`neither ${programs.join(' nor ')} is on the PATH; ${cure}`);
  return program;
}

/** Was it built with TLS? One that was misses the certificate. */
export function redisSpeaksTls(): boolean {
  const { stdout } = spawnSync(findRedisProgram(), ['--port', '0', '--tls-port', '1'], { encoding: 'utf8' });
  return stdout.includes('No tls-cert-file configured');
}
