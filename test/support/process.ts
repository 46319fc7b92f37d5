import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface TestProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves when it has ended and all its output was read. */
  readonly exited: Promise<Exit>;
  readonly ended: boolean;
  /** Everything that it wrote so far. */
  stdout(): string;
  stderr(): string;
  /** Sends a signal that ends it, and waits until it has ended. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** SIGSTOP: it is there, but does nothing, as in a long pause of a garbage collector or of a virtual machine. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

/**
 * Becomes the program by `exec`, so that its process id is the child's. The watcher beside it reads from a pipe whose
 * other end only we have: however the test process ends, also by SIGKILL, the read returns and the program is killed.
 */
const TIED = '(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&-';

/** Starts a program that ends with this process, whatever ends that. */
export function startProcess(command: string, args: readonly string[], env: NodeJS.ProcessEnv): TestProcess {
  // In a process group of its own, so that Ctrl-C reaches the tests and not what they test.
  const child = spawn('sh', ['-c', TIED, 'sh', command, ...args], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  child.stdio[3]?.on('error', () => {});
  const stdout = collect(child.stdout as Readable);
  const stderr = collect(child.stderr as Readable);
  // The watcher goes as well. It keeps the group's id from being given to others until then.
  child.once('exit', () => killGroup(child));
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  exited.catch(() => {}); // for those who do not wait
  return {
    child,
    pid: child.pid as number,
    exited,
    get ended() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    stdout,
    stderr,
    kill(signal = 'SIGKILL') {
      child.kill(signal);
      return exited;
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
  };
}

/** The environment of a program under test: nothing of the developer's own but what a program needs to run. */
export function plainEnv(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...extra };
}

function collect(stream: Readable): () => string {
  const chunks: string[] = [];
  stream.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
  return () => chunks.join('');
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // gone already
  }
}
