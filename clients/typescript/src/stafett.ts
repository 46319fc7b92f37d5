import { Caches } from './caches.js';
import { Connection, type SessionState } from './connection.js';
import { sessionLost } from './errors.js';
import { Events } from './events.js';
import { Instances } from './instances/instances.js';
import { Locks } from './locks.js';
import { type ConnectOptions, toSettings } from './options.js';
import { Processes } from './processes.js';
import { Runs } from './runs/runs.js';
import { Settings } from './runtime-settings.js';

/** This process's session: its liveness in the eyes of the servers. Everything that it holds hangs on it. */
export class Session {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The id. Another one after the session was lost. */
  get id(): string {
    return this.#connection.life?.id ?? '';
  }

  /** Compares with the clock each time it is asked. */
  get state(): SessionState {
    return this.#connection.state;
  }

  /** Aborted, with SESSION_LOST as its reason (after `close`, CLOSED), when the session is lost. The next session has another one. */
  get signal(): AbortSignal {
    return this.#connection.life?.signal ?? AbortSignal.abort(sessionLost('there never was one'));
  }

  /** How long what is held is safe without another keepalive, ms; 0 when the session is lost. */
  remainingMs(): number {
    return this.#connection.life?.remainingMs ?? 0;
  }

  /**
   * Told every change of the state, at once. Returns what ends that.
   * @example const stop = stafett.session.onStateChange((state) => log.info({ state }, 'stafett'));
   */
  onStateChange(listener: (state: SessionState) => void): () => void {
    return this.#connection.onStateChange(listener);
  }
}

/**
 * A connected client. One for a process is enough, however many locks it takes: they share one connection and one session.
 * **It keeps the process alive until it is closed**, also while no server can be reached.
 */
export class Stafett implements AsyncDisposable {
  readonly session: Session;
  readonly locks: Locks;
  readonly events: Events;
  readonly processes: Processes;
  readonly instances: Instances;
  readonly runs: Runs;
  readonly settings: Settings;
  readonly caches: Caches;
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.session = new Session(connection);
    this.locks = new Locks(connection);
    this.events = new Events(connection);
    this.processes = new Processes(connection);
    this.runs = new Runs(connection);
    this.settings = new Settings(connection);
    this.caches = new Caches(connection);
    this.instances = new Instances(connection, this);
  }

  /**
   * Gives everything back at once and closes; takes no longer than 4 s. Signals of locks that are still held are aborted,
   * acquires that still wait are rejected with CLOSED: finish the work before. Managed processes are left; if their workers have not
   * stopped when the time is over, the session is not closed but left to run out, so that no others are started beside them.
   * Twice is fine.
   */
  async close(): Promise<void> {
    const keepSession = !(await this.processes.close());
    await this.#connection.close({ keepSession });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Connects to a Stafett server, or to the first of several that answers; to the next when that fails.
 * @param address `'host:port'`, `'[ipv6]:port'`, or several of them, as a list or separated by commas. They are tried in this order,
 * and so are all the IP addresses of a host's name.
 * @throws {StafettError} CONNECTION_FAILED when none answers within the `connectTimeout`; what a server says when it refuses us
 * for good, e.g. INVALID_FIELD for a `ttl` beyond its `max_ttl`.
 * @throws {TypeError} for an option that is wrong, naming it.
 * @example
 * const stafett = await connect('127.0.0.1:50051', { client: 'tax-return-service' });
 * await stafett.locks.run('customer/42', async (lock) => save(document, lock.fencingToken));
 */
export async function connect(address: string | readonly string[], options: ConnectOptions = {}): Promise<Stafett> {
  const connection = new Connection(toSettings(address, options));
  await connection.open(options.signal);
  return new Stafett(connection);
}
