import { Connection, type SessionState } from './connection.js';
import { Locks } from './locks.js';
import { type ConnectOptions, type Settings, toSettings } from './options.js';

/** This process's session: its liveness in the eyes of the servers. Everything that it holds hangs on it. */
export class Session {
  readonly #connection: Connection;

  /** Made by `connect`. */
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

  /** How long what is held is safe without another keepalive, ms. */
  get remainingMs(): number {
    return this.#connection.life?.remainingMs ?? 0;
  }

  /** Told every change of the state. Returns what ends that. */
  onStateChange(listener: (state: SessionState) => void): () => void {
    return this.#connection.onStateChange(listener);
  }
}

/** A connected client. Keeps the process alive until it is closed. */
export class Stafett implements AsyncDisposable {
  readonly session: Session;
  readonly locks: Locks;
  readonly #connection: Connection;

  /** Made by `connect`. */
  constructor(connection: Connection, settings: Settings) {
    this.#connection = connection;
    this.session = new Session(connection);
    this.locks = new Locks(connection, settings.offlineTimeoutMs);
  }

  /**
   * Gives everything back at once and closes. Signals of locks that are still held are aborted, acquires that still wait
   * are rejected with CLOSED: finish the work before.
   */
  close(): Promise<void> {
    return this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Connects to a Stafett server, or to the first of several that answers; to the next when that fails.
 * @param address `'host:port'`, or several of them, as a list or separated by commas. A host name with several addresses works too.
 * @throws {StafettError} CONNECTION_FAILED when none answers within the `connectTimeout`.
 * @example
 * const stafett = await connect('127.0.0.1:50051', { client: 'tax-return-service' });
 * await stafett.locks.run('customer/42', async (lock) => save(document, lock.fencingToken));
 */
export async function connect(address: string | readonly string[], options: ConnectOptions = {}): Promise<Stafett> {
  const settings = toSettings(address, options);
  const connection = new Connection(settings);
  await connection.open(options.signal);
  return new Stafett(connection, settings);
}
