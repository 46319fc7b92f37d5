import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onCleanup } from './cleanup.js';
import { eventually } from './eventually.js';
import { freePort } from './ports.js';
import { type Exit, plainEnv, startProcess, type TestProcess } from './process.js';
import { startRedis, type TestRedis, type TestRedisOptions } from './redis.js';

const DIST = fileURLToPath(new URL('../../server/dist', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const START_TRIES = 3;

/** One line of the server's log. */
export type LogRecord = Record<string, unknown> & { readonly msg: string };

/** A real server, `node server/dist/main.js`. It is ended with the test, or with the file, that started it. */
export interface TestServer {
  /** Where gRPC is served: `127.0.0.1:<port>`. */
  readonly address: string;
  readonly httpAddress: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly pid: number;
  readonly process: ChildProcess;
  /** Resolves when it has ended. */
  readonly exited: Promise<Exit>;
  /** What it logged so far. */
  logs(): LogRecord[];
  /** SIGTERM, and waits for the end. More than once is fine. */
  stop(): Promise<Exit>;
  /** Another signal that ends it, by default SIGKILL; waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** SIGSTOP: connections stay, nothing is answered. */
  pause(): void;
  resume(): void;
}

export interface TestServerOptions {
  /** What keeps its state: a test's Redis, or any other by its URL (a proxy's, say). Default: the server's embedded one. */
  readonly redis?: Pick<TestRedis, 'url'> | string;
  /** More of its environment, e.g. `{ STAFETT_MAX_TTL: '5s' }`. Nothing else of the environment of the tests reaches it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: any free one. Give that of a server that has ended to start it again at the same address. */
  readonly grpcPort?: number;
  readonly httpPort?: number;
  /** Default: the server as it was built. */
  readonly dist?: string;
}

/**
 * Starts a server and waits until it is ready. Its ports are not those that the kernel gives away, for one that is started again would
 * find its port taken by some connection.
 */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  for (let i = 1; ; i++) {
    const { grpcPort = await freePort(), httpPort = await freePort() } = options;
    try {
      return await startAt({ ...options, grpcPort, httpPort });
    } catch (error) {
      // Somebody else took the port in the meantime.
      if (i === START_TRIES || !/EADDRINUSE/.test(String(error))) throw error;
    }
  }
}

async function startAt(options: TestServerOptions & Ready): Promise<TestServer> {
  const { redis, env, grpcPort, httpPort, dist = DIST } = options;
  const url = typeof redis === 'string' ? redis : redis?.url;
  const server = startProcess(
    process.execPath,
    [join(dist, 'main.js')],
    plainEnv({
      STAFETT_GRPC_ADDRESS: `127.0.0.1:${grpcPort}`,
      STAFETT_HTTP_ADDRESS: `127.0.0.1:${httpPort}`,
      ...(url !== undefined && { REDIS_URL: url, STAFETT_REDIS_IS_NEW: 'true' }),
      ...env,
    }),
  );
  onCleanup(() => end(server));
  return describe(server, await whenReady(server));
}

export interface TestStack {
  readonly redis: TestRedis;
  readonly server: TestServer;
  /** One more server on the same Redis. */
  addServer(options?: Omit<TestServerOptions, 'redis'>): Promise<TestServer>;
}

/** Starts a Redis of its own and a server on it. */
export async function startStack(options: { redis?: TestRedisOptions; env?: Readonly<Record<string, string>> } = {}): Promise<TestStack> {
  const { env = {} } = options;
  const redis = await startRedis(options.redis);
  return {
    redis,
    server: await startServer({ redis, env }),
    addServer: (more = {}) => startServer({ ...more, redis, env: { ...env, ...more.env } }),
  };
}

function describe(server: TestProcess, { grpcPort, httpPort }: Ready): TestServer {
  return {
    address: `127.0.0.1:${grpcPort}`,
    httpAddress: `127.0.0.1:${httpPort}`,
    grpcPort,
    httpPort,
    pid: server.pid,
    process: server.child,
    exited: server.exited,
    logs: () => parseLog(server.stderr()),
    stop: () => server.kill('SIGTERM'),
    kill: (signal) => server.kill(signal),
    pause: server.pause,
    resume: server.resume,
  };
}

interface Ready {
  readonly grpcPort: number;
  readonly httpPort: number;
}

async function whenReady(server: TestProcess): Promise<Ready> {
  const ready = () => parseLog(server.stderr()).find(({ msg }) => msg === 'ready');
  await eventually('the server to be ready', () => ready() !== undefined || server.ended, { timeoutMs: START_TIMEOUT_MS });
  if (server.ended) {
    await server.exited; // all of its output
    throw new Error(`the server ended: ${server.stderr()}`);
  }
  return ready() as unknown as Ready;
}

/** A server that hangs must not keep the test from its end; whether it stops well is for tests of just that. */
async function end(server: TestProcess): Promise<void> {
  if (!server.ended) await server.kill('SIGKILL');
}

/** Lines that are no JSON are not the log's: the last words of a crash, or the beginning of a line still being written. */
function parseLog(text: string): LogRecord[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogRecord);
}
