import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100; // USER_HZ, the same on every Linux

interface Stat {
  parent: number;
  ownTicks: number;
  endedChildrenTicks: number;
}

/** `/proc/<pid>/stat`; undefined where there is none. */
function readStat(pid: number | string): Stat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number); // from `state` on, the name may hold spaces
    const field = (index: number) => fields[index] ?? 0;
    return { parent: field(1), ownTicks: field(11) + field(12), endedChildrenTicks: field(13) + field(14) };
  } catch {
    return undefined;
  }
}

/** CPU time that a process has used so far, in seconds; NaN where it cannot be read. */
export function cpuSeconds(pid: number): number {
  const stat = readStat(pid);
  return stat === undefined ? Number.NaN : stat.ownTicks / ticksPerSecond;
}

/** CPU time of a process and its children, those that have ended included. */
export function cpuSecondsWithChildren(pid: number): number {
  const own = readStat(pid);
  if (own === undefined) return Number.NaN;
  let ticks = own.ownTicks + own.endedChildrenTicks;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(name);
    if (stat?.parent === pid) ticks += stat.ownTicks;
  }
  return ticks / ticksPerSecond;
}
