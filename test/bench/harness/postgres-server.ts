import type { SpawnOptions } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, findProgram, freePort, start, stop } from './child.js';
import type { CleanupStack } from './cleanup.js';

export interface PostgresServer {
  host: string;
  port: number;
  user: string;
  database: string;
  pid: number;
  version: string;
}

const debianDirectory = '/usr/lib/postgresql';
const otherDirectories = ['/usr/local/pgsql/bin', '/usr/local/bin', '/opt/homebrew/bin', '/usr/pgsql/bin'];

/** Where `initdb` and `postgres` are: the newest of Debian's, else the PATH, else the usual places. */
export function findPostgres(): string | undefined {
  let debian: string[] = [];
  try {
    debian = readdirSync(debianDirectory)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(debianDirectory, version, 'bin'));
  } catch {
    // not a Debian, or not installed
  }
  const initdb = findProgram(['initdb'], debian) ?? findProgram(['initdb']) ?? findProgram(['initdb'], otherDirectories);
  if (initdb === undefined) return undefined;
  const directory = dirname(realpathSync(initdb));
  return findProgram(['postgres'], [directory]) === undefined ? undefined : directory;
}

/** PostgreSQL refuses to run as root: then its own user, or nobody. */
function unprivilegedUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (user === undefined) throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor nobody');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

/** Starts a private PostgreSQL with a new data directory; both are gone after the run. */
export async function startPostgres(binDirectory: string, cleanup: CleanupStack): Promise<PostgresServer> {
  const who = unprivilegedUser();
  const directory = mkdtempSync(join(tmpdir(), 'stafett-bench-postgres-'));
  cleanup.add(() => rmSync(directory, { recursive: true, force: true }));
  if (who.uid !== undefined && who.gid !== undefined) chownSync(directory, who.uid, who.gid);
  const data = join(directory, 'data');
  const options = { cwd: directory, ...who };
  await run(
    join(binDirectory, 'initdb'),
    ['-D', data, '-U', 'bench', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    options,
    cleanup,
  );
  const port = await freePort();
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    max_connections: 1100,
    deadlock_timeout: '60s',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = start(join(binDirectory, 'postgres'), ['-D', data, ...args], { ...options, stdio: 'ignore' });
  cleanup.add(() => stop(child, 'SIGQUIT'));
  const server = { host: '127.0.0.1', port, user: 'bench', database: 'postgres' };
  return { ...server, pid: child.pid as number, version: await serverVersion(server) };
}

async function serverVersion(server: { host: string; port: number; user: string; database: string }): Promise<string> {
  const { default: pg } = await import('pg');
  for (let attempt = 1; ; attempt++) {
    const client = new pg.Client(server);
    client.on('error', () => {});
    try {
      await client.connect();
      const { rows } = await client.query('show server_version');
      await client.end();
      return `PostgreSQL ${String(rows[0].server_version).split(' ')[0]}`;
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(100);
    }
  }
}

async function run(command: string, args: readonly string[], options: SpawnOptions, cleanup: CleanupStack): Promise<void> {
  const child = start(command, args, options);
  cleanup.add(() => stop(child));
  let output = '';
  child.stderr?.on('data', (chunk) => {
    output += chunk;
  });
  await ended(child);
  if (child.exitCode !== 0) throw new Error(`${command} ended with ${child.exitCode ?? child.signalCode}: ${output}`);
}
