/** The parts of INFO that tell what a master may have lost. */
export const WATCHED_INFO = ['server', 'replication', 'commandstats'];

/** The replication id changes when a replica becomes a master, and when a master becomes a replica. */
const FACTS = /^(run_id|role|master_replid|cmdstat_flushall|cmdstat_flushdb):(calls=\d+|\w+)/gm;

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
