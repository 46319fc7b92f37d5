import type { Connection } from '../connection.js';
import { type BuiltIns, builtInOffers, type Inside } from './built-ins/index.js';
import { callInstance, InstanceCall } from './call.js';
import type { CallHandler, CallOffer, CallOptions, CallParams } from './handler.js';
import { Serving, type ServingOptions } from './serving.js';
import { type InstanceEvent, type InstanceView, toInstanceView } from './views.js';
import { type InstanceFilter, watchInstances } from './watch.js';

/** How a process offers itself. */
export interface ServeOptions {
  /** The name of the service. Default: the `client` of `connect`. */
  readonly service?: string;
  /** Default: the `version` of `connect`. */
  readonly version?: string;
  /** Where others reach it; only shown. */
  readonly address?: string;
  /** Whatever helps to find it, e.g. `{ zone: 'a' }`. At most 32. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The service's own calls, by name. */
  readonly handlers?: Readonly<Record<string, CallHandler | CallOffer>>;
  /**
   * Which of the built-in calls are offered. Default: `info` and `gc-stats`, which tell figures alone. **The others show the inside of the
   * process, with whatever secrets it has in memory, or change it**, to whoever may make privileged calls at the servers.
   */
  readonly builtIns?: BuiltIns;
  /** Ends it, as `close` does. */
  readonly signal?: AbortSignal;
}

/** This process, as it is offered to callers. */
export interface Served extends AsyncDisposable {
  /** The id that it has now: another one after the session was lost. */
  readonly id: string;
  /** Takes it off the list at once. Calls that run are cancelled. */
  close(): Promise<void>;
}

/**
 * Instances: running processes that can be listed and called, that one, through whatever stands in front of it. An instance dials out,
 * so nothing has to reach it.
 */
export class Instances {
  readonly #connection: Connection;
  readonly #inside: Inside;
  #served = false;

  /** @internal */
  constructor(connection: Connection, inside: Inside) {
    this.#connection = connection;
    this.#inside = inside;
  }

  /**
   * Offers this process to callers. Resolves when it is listed; it stays so, over however many connections, until it is closed or the
   * client is. Once for each client.
   * @throws {StafettError} INVALID_FIELD; {TypeError} for an option that is wrong.
   * @example
   * await stafett.instances.serve({
   *   service: 'tax-return-service',
   *   handlers: { 'cache-stats': async function* (params, call) { yield cache.stats(); } },
   *   builtIns: { 'cpu-profile': true },
   * });
   */
  async serve(options: ServeOptions): Promise<Served> {
    const { client } = this.#connection;
    const { service = client.name, version = client.version, address = '', labels = {} } = options;
    if (service === '') throw new TypeError('service: must be given here, or as the `client` of connect');
    if (this.#served) throw new TypeError('serve: this client is an instance already');
    const offers = toOffers(options, service, this.#inside);
    const calls = [...offers].map(([name, { description = '', privileged = false, exclusive = false }]) => {
      return { name, description, privileged, exclusive };
    });
    const startTime = toStartTime();
    const registration = { service, version, host: client.host, address, labels: { ...labels }, startTime, calls };
    this.#served = true;
    return this.#serve(registration, offers, options.signal);
  }

  async #serve(
    registration: ServingOptions['registration'],
    offers: ReadonlyMap<string, CallOffer>,
    signal?: AbortSignal,
  ): Promise<Served> {
    const leaving = new AbortController();
    const onAbort = () => leaving.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const serving = new Serving({ connection: this.#connection, registration, offers, signal: leaving.signal });
    const ended = serving.run().finally(() => {
      signal?.removeEventListener('abort', onAbort);
      this.#served = false;
    });
    await Promise.race([serving.registered, ended]);
    ended.catch(() => {}); // later: the client was closed
    const close = async () => {
      leaving.abort();
      await ended.catch(() => {});
    };
    return {
      get id() {
        return serving.id;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  }

  /**
   * Calls an instance by its id. Nothing is asked before the answer is read.
   * @example for await (const chunk of stafett.instances.call(id, 'heap-snapshot')) file.write(chunk);
   */
  call(instanceId: string, name: string, params: CallParams = {}, options: CallOptions = {}): InstanceCall {
    return new InstanceCall(() => callInstance(this.#connection, instanceId, name, params, options));
  }

  /** One instance. @throws {StafettError} INSTANCE_NOT_FOUND */
  async get(instanceId: string, { signal }: { signal?: AbortSignal } = {}): Promise<InstanceView> {
    const { instance } = await this.#connection.call(
      (link, ended) => link.instances.getInstance({ instanceId }, { signal: ended }),
      signal,
    );
    return toInstanceView(instance as NonNullable<typeof instance>);
  }

  /** The instances, by id. */
  async *list(filter: InstanceFilter & { signal?: AbortSignal } = {}): AsyncGenerator<InstanceView> {
    const { service = '', labels = {}, signal } = filter;
    for (let pageToken = ''; ; ) {
      const request = { service, labels: { ...labels }, pageToken, pageSize: 0 };
      const page = await this.#connection.call((link, ended) => link.instances.listInstances(request, { signal: ended }), signal);
      yield* page.instances.map(toInstanceView);
      if (page.nextPageToken === '') return;
      pageToken = page.nextPageToken;
    }
  }

  /** The instances, and then every change, until the signal is aborted, which throws its reason. */
  watch(filter: InstanceFilter & { signal?: AbortSignal } = {}): AsyncGenerator<InstanceEvent> {
    return watchInstances(this.#connection, filter, filter.signal);
  }
}

function toOffers({ handlers = {}, builtIns = {} }: ServeOptions, service: string, inside: Inside): Map<string, CallOffer> {
  const own = Object.entries(handlers).map(([name, handler]): [string, CallOffer] => {
    return [name, typeof handler === 'function' ? { handle: handler } : handler];
  });
  return new Map([...builtInOffers(builtIns, service, inside), ...own]);
}

function toStartTime() {
  const ms = Math.round(performance.timeOrigin);
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
}
