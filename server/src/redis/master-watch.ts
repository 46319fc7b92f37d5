/** The parts of INFO that tell what a master may have lost. */
export const WATCHED_INFO = ['server', 'replication', 'commandstats'];

/** The replication id changes when a replica becomes a master, and when a master becomes a replica. */
const FACTS = /^(run_id|role|master_replid|cmdstat_flushall|cmdstat_flushdb):(calls=\d+|\w+)/gm;

/**
 * Names what a process that is a master has as its data: the process, and how it came by them if it was a replica before. The process alone does
 * not tell: a master that is made a replica, and then the master once more, is still the same, and has what the other one had.
 * That history is forgotten an hour after the last replica left (`repl-backlog-ttl`): another name, though nothing was lost.
 * @param info the answer to INFO; undefined if it tells of no process.
 */
export function lifeOf(info: string): string | undefined {
  const run = /^run_id:(\w+)/m.exec(info)?.[1];
  const before = /^master_replid2:(?!0+\s)(\w{8})/m.exec(info)?.[1];
  if (run === undefined || before === undefined) return run;
  return `${run}-${before}-${/^second_repl_offset:(-?\d+)/m.exec(info)?.[1] ?? ''}`;
}

/** Since when nothing has happened to a master by which it may have lost data, as far as it tells. */
export class MasterWatch {
  #since: number | undefined;
  #seen: string | undefined;

  /** @param isNew the process that is seen first has been used by nobody before. */
  constructor(isNew: boolean) {
    this.#since = isNew ? Number.NEGATIVE_INFINITY : undefined;
  }

  /** Takes the answer to INFO. Returns since when, by `performance.now()`. */
  look(info: string): number {
    const seen = (info.match(FACTS) ?? []).join();
    const changed = this.#seen !== undefined && this.#seen !== seen;
    this.#seen = seen;
    if (this.#since === undefined || changed) this.#since = performance.now();
    return this.#since;
  }
}
