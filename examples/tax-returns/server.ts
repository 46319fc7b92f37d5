import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A Stafett server of the demo's own, on a free port. */
interface DemoServer extends AsyncDisposable {
  readonly address: string;
  /** The URL of its Redis. */
  readonly redis: string;
}

/** Several of them that are one. */
export interface DemoServers extends AsyncDisposable {
  /** Of all, separated by commas. */
  readonly address: string;
}

const MAIN = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));
const LOG_LINES_MAX = 50;
/** Then it is killed; its Redis ends with it either way. */
const STOP_TIMEOUT_MS = 5_000;

/** Two servers, with a Redis that the first one brings. */
export async function startServers(signal: AbortSignal): Promise<DemoServers> {
  const first = await startServer(signal);
  try {
    const second = await startServer(signal, { REDIS_URL: first.redis });
    const stop = async () => {
      await second[Symbol.asyncDispose]();
      await first[Symbol.asyncDispose]();
    };
    return { address: `${first.address},${second.address}`, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await first[Symbol.asyncDispose]();
    throw error;
  }
}

async function startServer(signal: AbortSignal, env: NodeJS.ProcessEnv = {}): Promise<DemoServer> {
  signal.throwIfAborted();
  const child = spawn(process.execPath, [MAIN], { env: { ...serverEnv(), ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = () => stopServer(child, exited);
  try {
    const { grpcPort, redis } = await Promise.race([ready(child), once(signal, 'abort').then(() => Promise.reject(signal.reason))]);
    return { address: `127.0.0.1:${grpcPort}`, redis: encodeURI(redis), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Without what the reader's shell configures for another server, its Redis above all. */
function serverEnv(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => name !== 'REDIS_URL' && !name.startsWith('STAFETT_'));
  return {
    ...Object.fromEntries(others),
    STAFETT_GRPC_ADDRESS: '127.0.0.1:0',
    STAFETT_HTTP_ADDRESS: '127.0.0.1:0',
    STAFETT_PRIVILEGED_CALLS: 'true', // such as CPU profiles; nobody else reaches these servers
  };
}

interface Ready {
  readonly grpcPort: number;
  readonly redis: string;
}

/** The server says on stderr, in a line of JSON, that it is ready, on which port, and with which Redis. */
function ready(child: ChildProcess): Promise<Ready> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error(`the Stafett server ended:\n${lines.join('\n')}`)));
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      if (lines.length < LOG_LINES_MAX) lines.push(line);
      if (line.includes('"msg":"ready"')) resolve(JSON.parse(line) as Ready);
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
