import { readFileSync } from 'node:fs';

/** Memory that a process has, in bytes; NaN where it cannot be read. */
export function residentBytes(pid: number): number {
  try {
    const [, kib = Number.NaN] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return Number(kib) * 1024;
  } catch {
    return Number.NaN;
  }
}
