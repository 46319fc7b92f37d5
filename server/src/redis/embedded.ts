import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { retryDelayMs } from './client.js';
import { findBinary } from './find-binary.js';

export interface EmbeddedRedis {
  /** How to reach it. Stays the same when it is started again. */
  readonly url: string;
  /** The present process; 0 while it is being started again. */
  readonly pid: number;
  /** Stops it for good and removes what it left. */
  stop(): Promise<void>;
  /** Resolves when it was stopped for good. */
  readonly exited: Promise<void>;
}

export interface EmbeddedRedisOptions {
  readonly logger: Logger;
  /** The server's binary. Default: `redis-server` or `valkey-server` from the PATH. */
  readonly binary?: string;
}

const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 3_000;
/** Lives longer than this count as good: the next restart is again an early one. */
const STABLE_MS = 10_000;
/** A unix socket's path must fit into `sun_path`: 104 bytes on macOS, 108 on Linux. */
const SOCKET_PATH_BYTES_MAX = 100;

/**
 * Becomes Redis by `exec`, so that its process id is the child's. The watcher beside it reads from a pipe whose other end
 * only this server has: however the server ends, also by SIGKILL, the read returns and the whole process group goes.
 * ($1 is the directory; the rest is the command.)
 */
const WATCHED = 'dir=$1; shift; (read -r _ <&3; rm -rf -- "$dir"; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&-';

/**
 * Starts a private Redis without a disk, on a unix socket that only this user may open. It ends with this process,
 * whatever ends that. When it exits by itself it is started again on the same socket, empty.
 * @throws {Error} that says what to install when there is no such program, or why it did not start.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const binary = options.binary ?? findBinary();
  const dir = await makeDir();
  const keeper = new Keeper(binary, dir, options.logger.child({ component: 'embedded-redis' }));
  try {
    await keeper.start();
  } catch (error) {
    await keeper.stop();
    throw error;
  }
  return keeper;
}

class Keeper implements EmbeddedRedis {
  readonly url: string;
  readonly exited: Promise<void>;
  readonly #socket: string;
  #markExited!: () => void;
  #child: ChildProcess | undefined;
  #stopping = false;
  /** What Redis said last, for when it does not start. */
  #lastLines: string[] = [];
  #failures = 0;

  constructor(
    readonly binary: string,
    readonly dir: string,
    readonly logger: Logger,
  ) {
    this.#socket = join(dir, 'redis.sock');
    this.url = `unix://${encodeURI(this.#socket)}`;
    this.exited = new Promise((resolve) => {
      this.#markExited = resolve;
    });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    const child = this.#spawn();
    const died = new Promise<never>((_, reject) => {
      child.once('error', (error) => reject(new Error(`${this.binary} does not start: ${error.message}`)));
      child.once('exit', (code, signal) => {
        reject(new Error(`${this.binary} ended at once (${signal ?? `exit code ${code}`}): ${this.#lastLines.join(' | ')}`));
      });
    });
    await Promise.race([died, this.#waitUntilItAnswers(child)]);
    const startedAt = performance.now();
    child.removeAllListeners('exit').once('exit', (code, signal) => {
      if (performance.now() - startedAt > STABLE_MS) this.#failures = 0;
      this.#onExit(child, code, signal);
    });
    if (child.exitCode !== null || child.signalCode !== null) this.#onExit(child, child.exitCode, child.signalCode);
    this.logger.debug({ redisPid: child.pid, socket: this.#socket }, 'embedded Redis runs');
  }

  async stop(): Promise<void> {
    if (this.#stopping) return this.exited;
    this.#stopping = true;
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exit = new Promise((resolve) => child.once('exit', resolve));
      child.ref(); // from here on it is worth waiting for
      child.kill('SIGTERM');
      await Promise.race([exit, sleep(STOP_TIMEOUT_MS)]);
    }
    if (child !== undefined) killGroup(child);
    this.#child = undefined;
    await rm(this.dir, { recursive: true, force: true });
    this.#markExited();
  }

  #spawn(): ChildProcess {
    this.#lastLines = [];
    const args = ['-c', WATCHED, 'stafett-redis', this.dir, this.binary, ...redisArguments(this.dir, this.#socket)];
    // A process group of its own: Ctrl-C in the terminal reaches the server, which then still needs its Redis to end well.
    const child = spawn('/bin/sh', args, { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) if (stream !== null) this.#forwardLog(stream);
    // Neither the pipes nor the child keep this process alive.
    for (const stream of child.stdio) (stream as { unref?: () => void } | null)?.unref?.();
    child.stdio[3]?.on('error', () => {}); // the watcher was killed: nothing to do
    child.unref();
    return child;
  }

  #forwardLog(stream: Readable): void {
    stream.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter((part) => part.trim() !== '')) {
        this.#lastLines = [...this.#lastLines, line].slice(-5);
        this.logger.debug({ line }, 'embedded Redis says');
      }
    });
  }

  async #waitUntilItAnswers(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (child.exitCode === null && child.signalCode === null) {
      if (await answers(this.#socket)) return;
      if (performance.now() > deadline) throw new Error(`${this.binary} does not answer: ${this.#lastLines.join(' | ')}`);
      await sleep(10);
    }
    await new Promise(() => {}); // it ended, which is reported elsewhere
  }

  #onExit(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    killGroup(child);
    if (this.#stopping) return;
    this.#child = undefined;
    this.logger.error(
      { code, signal, lastLines: this.#lastLines },
      'the embedded Redis ended unexpectedly, and with it all locks and sessions; starting another',
    );
    void this.#restart();
  }

  async #restart(): Promise<void> {
    while (!this.#stopping) {
      await sleep(retryDelayMs(++this.#failures));
      if (this.#stopping) return;
      try {
        await this.start();
        this.logger.warn({ redisPid: this.pid }, 'the embedded Redis runs again, empty');
        return;
      } catch (error) {
        this.logger.error({ err: error }, 'the embedded Redis could not be started again');
        if (this.#child !== undefined) killGroup(this.#child);
      }
    }
  }
}

function redisArguments(dir: string, socket: string): string[] {
  return [
    ...['--port', '0', '--unixsocket', socket, '--unixsocketperm', '700', '--dir', dir],
    ...['--save', '', '--appendonly', 'no', '--daemonize', 'no', '--loglevel', 'warning', '--logfile', ''],
  ];
}

/** Ends Redis and its watcher. The group's id cannot have gone to others: the watcher is still in it. */
function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

async function answers(socket: string): Promise<boolean> {
  const redis = new Redis({ path: socket, lazyConnect: true, retryStrategy: () => null, enableOfflineQueue: false, connectTimeout: 1_000 });
  redis.on('error', () => {});
  try {
    await redis.connect();
    return (await redis.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}

async function makeDir(): Promise<string> {
  const wanted = join(tmpdir(), 'stafett-');
  const tooLong = Buffer.byteLength(`${wanted}XXXXXX/redis.sock`) > SOCKET_PATH_BYTES_MAX;
  return mkdtemp(tooLong ? '/tmp/stafett-' : wanted);
}
