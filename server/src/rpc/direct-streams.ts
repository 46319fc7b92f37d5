import { type Metadata, ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor } from '@grpc/grpc-js';
import type { CallContext } from 'nice-grpc';
import type { Registry } from 'prom-client';
import { messageCounts } from './metrics.js';
import { malformedRequest } from './strict-decoding.js';

/** Tells the handler which stream belongs to its call; whatever a caller sends under this name is replaced. */
const METADATA_KEY = 'stafett-direct-stream';
/** Messages that grpc-js has taken and HTTP/2 has not, at the most; then `send` tells to wait. */
const UNSENT_MAX = 4;

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];

/**
 * The messages of one call, past nice-grpc: each of its layers is an async generator, which costs each message something
 * (docs/decisions/013). The call itself begins and ends as any other, with all middlewares. If it goes in both directions its handler
 * sees the end of the input, but none of the messages.
 */
export class DirectStream<Request, Response> {
  readonly #call: ServerInterceptingCallInterface;
  readonly #counts: ReturnType<typeof messageCounts>;
  readonly #path: string;
  #unsent = 0;
  #onMessage: ((request: Request) => Promise<void> | undefined) | undefined;
  #onError: (error: Error) => void = () => {};
  #onRoom: () => void = () => {};

  constructor(call: ServerInterceptingCallInterface, path: string, counts: ReturnType<typeof messageCounts>) {
    this.#call = call;
    this.#path = path;
    this.#counts = counts;
  }

  /**
   * To be called once, before the input is looked at.
   * @param onMessage may return a promise: nothing more is read until it resolves.
   * @param onError told what is wrong with the input; nothing more is read then.
   * @param onRoom told when there is room again, after `send` returned false.
   */
  open(onMessage: (request: Request) => Promise<void> | undefined, onError: (error: Error) => void, onRoom: () => void): void {
    this.#onMessage = onMessage;
    this.#onError = onError;
    this.#onRoom = onRoom;
  }

  /** Instead of `open`, of a call that takes one request and only tells. */
  openToTell(onRoom: () => void): void {
    this.#onRoom = onRoom;
  }

  /** @returns whether there is room for more. */
  send(response: Response): boolean {
    this.#unsent++;
    this.#counts.sent();
    this.#call.sendMessage(response, () => {
      if (this.#unsent-- === UNSENT_MAX) this.#onRoom();
    });
    return this.#unsent < UNSENT_MAX;
  }

  /** @internal */
  receive(message: Request): void {
    this.#counts.received();
    try {
      const malformed = malformedRequest(message, this.#path);
      if (malformed) throw malformed;
      const busy = this.#onMessage?.(message);
      if (busy) busy.then(() => this.#call.startRead(), this.#onError);
      else this.#call.startRead();
    } catch (error) {
      this.#onError(error as Error);
    }
  }
}

/** The calls of one method whose messages go past nice-grpc. */
export class DirectStreams<Request, Response> {
  readonly #path: string;
  readonly #registry: Registry;
  #counts: ReturnType<typeof messageCounts> | undefined;
  readonly #streams = new Map<string, DirectStream<Request, Response>>();
  #lastId = 0;

  constructor(path: string, registry: Registry) {
    this.#path = path;
    this.#registry = registry;
  }

  /** For the server. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    if (method.path !== this.#path) return call as ServerInterceptingCall;
    this.#counts ??= messageCounts(this.#registry, method);
    const stream = new DirectStream<Request, Response>(call, this.#path, this.#counts);
    const id = String(++this.#lastId);
    this.#streams.set(id, stream);
    const receive = (message: unknown) => stream.receive(message as Request);
    return new DirectCall(call, id, method.requestStream ? receive : undefined, () => this.#streams.delete(id));
  };

  /** The stream of the handler's call. */
  of({ metadata }: Pick<CallContext, 'metadata'>): DirectStream<Request, Response> {
    const stream = this.#streams.get(metadata.get(METADATA_KEY) ?? '');
    if (!stream) throw new Error(`no direct stream for a call of ${this.#path}`);
    return stream;
  }
}

/** A call whose messages go another way than up; the request of one that only tells goes up. */
class DirectCall extends ServerInterceptingCall {
  constructor(
    readonly call: ServerInterceptingCallInterface,
    readonly id: string,
    readonly onMessage: ((message: unknown) => void) | undefined,
    readonly onEnd: () => void,
  ) {
    super(call);
  }

  override start(listener: Listener): void {
    this.call.start({
      onReceiveMetadata: (metadata: Metadata) => {
        metadata.set(METADATA_KEY, this.id);
        listener.onReceiveMetadata(metadata);
      },
      onReceiveMessage: this.onMessage ?? ((message) => listener.onReceiveMessage(message)),
      onReceiveHalfClose: () => listener.onReceiveHalfClose(),
      onCancel: () => {
        this.onEnd();
        listener.onCancel();
      },
    });
  }
}
