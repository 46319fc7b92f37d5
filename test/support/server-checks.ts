import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Exit, plainEnv, startProcess } from './process.js';
import type { TestServer } from './stack.js';

/** Looks at a server from the outside, as an operator would. */

export const SERVER_MAIN = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));

/** Runs the server until it ends by itself, e.g. for `--help`. */
export async function runServer(args: string[], env: Record<string, string> = {}): Promise<Exit & { stdout: string; stderr: string }> {
  const server = startProcess(process.execPath, [SERVER_MAIN, ...args], plainEnv(env));
  const exit = await server.exited;
  return { ...exit, stdout: server.stdout(), stderr: server.stderr() };
}

/** The URL of the Redis that a server uses. */
export function redisUrlOf(server: TestServer): string {
  return server.logs().find(({ msg }) => msg === 'ready')?.redis as string;
}

/** The process id of a server's embedded Redis; undefined while it has none. */
export function redisPidOf(server: TestServer): number | undefined {
  const children = readProc(server.pid, `task/${server.pid}/children`).split(' ').filter(Boolean).map(Number);
  return children.find((pid) => /^\S*(redis|valkey)-server/.test(readProc(pid, 'cmdline')));
}

export function isAlive(pid: number): boolean {
  // A zombie has ended; only its parent has not looked yet.
  return /^State:\s+[^ZX]/m.test(readProc(pid, 'status'));
}

export async function httpGet(server: TestServer, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://${server.httpAddress}${path}`);
  return { status: response.status, body: await response.text() };
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
