import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A Stafett server of the demo's own, with its own Redis, on free ports. */
export interface DemoServer extends AsyncDisposable {
  readonly address: string;
}

const MAIN = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));
const LOG_LINES_MAX = 50;
/** Then it is killed; its Redis ends with it either way. */
const STOP_TIMEOUT_MS = 5_000;

export async function startServer(signal: AbortSignal): Promise<DemoServer> {
  signal.throwIfAborted();
  const child = spawn(process.execPath, [MAIN], { env: serverEnv(), stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = () => stopServer(child, exited);
  try {
    const port = await Promise.race([ready(child), once(signal, 'abort').then(() => Promise.reject(signal.reason))]);
    return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Without what the reader's shell configures for another server, its Redis above all. */
function serverEnv(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => name !== 'REDIS_URL' && !name.startsWith('STAFETT_'));
  return { ...Object.fromEntries(others), STAFETT_GRPC_ADDRESS: '127.0.0.1:0', STAFETT_HTTP_ADDRESS: '127.0.0.1:0' };
}

/** The server says on stderr, in a line of JSON, that it is ready and on which port. */
function ready(child: ChildProcess): Promise<number> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error(`the Stafett server ended:\n${lines.join('\n')}`)));
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      if (lines.length < LOG_LINES_MAX) lines.push(line);
      if (line.includes('"msg":"ready"')) resolve((JSON.parse(line) as { grpcPort: number }).grpcPort);
    });
  });
}

async function stopServer(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
