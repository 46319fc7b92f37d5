import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onCleanup } from './cleanup.js';

/** Where Debian has libraries, below a directory for the machine's architecture. */
const LIB = '/usr/lib';
/** The second because jemalloc, which Redis uses, asks for the time before the first can tell it. */
const LIBRARIES = ['libtcmalloc_minimal.so.4', 'faketime/libfaketime.so.1'];

/** A wall clock of its own for a process, that can be set while it runs. */
export interface FakeClock {
  /** For the process. */
  readonly env: Readonly<Record<string, string>>;
  /** By how much it is ahead of the real one from now on, in seconds. */
  set(seconds: number): void;
}

export interface FakeClockOptions {
  /** How fast it runs. Default 1: as the real one. */
  readonly rate?: number;
  /** Is the monotonic clock as wrong, as on a host whose quartz is? Else it is right. */
  readonly monotonic?: boolean;
}

/** @returns undefined where the libraries are not installed: Debian's packages `faketime` and `libtcmalloc-minimal4`. */
export function createFakeClock({ rate = 1, monotonic = false }: FakeClockOptions = {}): FakeClock | undefined {
  const libraries = LIBRARIES.map(findLibrary);
  if (libraries.includes(undefined)) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'stafett-clock-'));
  onCleanup(async () => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'offset');
  const set = (seconds: number) => writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}${rate === 1 ? '' : ` x${rate}`}`);
  set(0);
  // The name of the last one differs from version to version.
  const realMonotonic: Record<string, string> = monotonic ? {} : { FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1' };
  const env = { LD_PRELOAD: libraries.join(':'), FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', ...realMonotonic };
  return { env, set };
}

function findLibrary(library: string): string | undefined {
  if (!existsSync(LIB)) return undefined;
  return readdirSync(LIB)
    .map((architecture) => join(LIB, architecture, library))
    .find((file) => existsSync(file));
}
