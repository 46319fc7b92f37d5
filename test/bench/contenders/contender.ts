/** Where the servers of this run listen. What is not running is absent. */
export interface Endpoints {
  redisUrl: string;
  stafettAddress?: string;
  postgres?: { host: string; port: number; user: string; database: string };
}

/** Gives one acquired lock back. */
export type Release = () => Promise<unknown>;

/** One lock client, connected. Every call of `acquire` blocks until the lock is held. */
export interface Contender {
  /** `lane` tells concurrent callers apart, for those that need a connection for each of them. */
  acquire(name: string, lane: number): Promise<Release>;
  /** Acquires a lock that the library itself keeps alive; where absent, `acquire` does so. */
  hold?(name: string): Promise<Release>;
  /** Ends everything, pending acquires included. */
  close(): Promise<void>;
}

/** A server that a contender needs. */
export type Backend = 'stafett' | 'postgres' | 'redis';

/** What the bench knows about a contender. A new peer is one file that exports one of these, and a line in `index.ts`. */
export interface ContenderSpec {
  id: string;
  title: string;
  /** Its settings, printed below the tables. */
  settings: string;
  backend: Backend;
  /** Takes part only when `--contenders` names it. */
  onlyWhenNamed?: boolean;
  /** The most lanes it is asked for without contention; 0 leaves it out. */
  inFlightMax: number;
  /** The most waiters it is asked for on one lock; 0 leaves it out. */
  waitersMax: number;
  /** How often it refreshes what it holds, so that a measurement spans whole periods; absent leaves it out of `holding`. */
  refreshPeriodMs?: number;
  /** Connects, in the child process that this contender has for itself. */
  connect(endpoints: Endpoints, lanes: number): Promise<Contender>;
}
