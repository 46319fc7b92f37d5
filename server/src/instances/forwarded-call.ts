import { Metadata } from 'nice-grpc';
import { ClientError, type Status } from 'nice-grpc-common';
import { RichClientError } from 'nice-grpc-error-details';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { CallInstanceResponse, ForwardCallRequest } from '../gen/stafett/v1/instance.js';
import { StafettError } from '../rpc/errors.js';
import { toDuration } from '../rpc/fields.js';
import { NAMESPACE_HEADER } from '../rpc/namespace.js';
import { CREDIT_BYTES_MIN } from './limits.js';
import { PEER_HEADER, type Peer } from './peers.js';
import { instanceLost, instanceUnreachable } from './refusals.js';
import type { CallPlan, RunningCall } from './running-call.js';

/** One call, on a server that is not the one with the instance's stream: the answer comes from that. */
export class ForwardedCall implements RunningCall {
  readonly #peer: Peer;
  readonly #namespace: string;
  readonly #plan: CallPlan;
  readonly #abort = new AbortController();
  /** Bytes that were consumed, and of which the peer has not been told. */
  #owed = 0;
  #failure: Error | undefined;
  #began = false;
  #wake: () => void = () => {};

  constructor(peer: Peer, namespace: string, plan: CallPlan) {
    this.#peer = peer;
    this.#namespace = namespace;
    this.#plan = plan;
  }

  async *events(): AsyncGenerator<CallInstanceResponse, void, undefined> {
    const endCall = this.#peer.beginCall();
    const metadata = new Metadata({ [NAMESPACE_HEADER]: this.#namespace, [PEER_HEADER]: this.#peer.secret });
    try {
      for await (const response of this.#peer.client.forwardCall(this.#requests(), { metadata, signal: this.#abort.signal })) {
        this.#began = true;
        yield response;
      }
    } catch (error) {
      throw this.#failure ?? this.#toStafettError(error);
    } finally {
      this.#abort.abort();
      this.#wake();
      endCall();
    }
  }

  consumed(bytes: number): void {
    this.#owed += bytes;
    if (this.#owed >= CREDIT_BYTES_MIN) this.#wake();
  }

  /** The peer sees that the call is cancelled, and tells the instance. */
  stop(_reason: string, error?: Error): void {
    this.#failure ??= error;
    this.#abort.abort();
    this.#wake();
  }

  async *#requests(): AsyncGenerator<ForwardCallRequest> {
    const { timeoutMs, ...plan } = this.#plan;
    const timeout = timeoutMs === undefined ? undefined : toDuration(timeoutMs);
    yield { message: { $case: 'call', value: { ...plan, timeout } } };
    while (!this.#abort.signal.aborted) {
      if (this.#owed >= CREDIT_BYTES_MIN) {
        const owed = this.#owed;
        this.#owed = 0;
        yield { message: { $case: 'creditBytes', value: BigInt(owed) } };
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** What the peer says is said to the caller; that the peer cannot be reached, or was lost, is news of the instance. */
  #toStafettError(error: unknown): unknown {
    const { instanceId } = this.#plan;
    if (!(error instanceof ClientError)) return error;
    const said = toldByPeer(error);
    if (said && said.reason !== ErrorReason.SHUTTING_DOWN) return said;
    this.#peer.logger.info({ problem: error.message }, 'a call that was passed on to another server was lost');
    if (this.#began) return instanceLost(instanceId, 'the server that is connected to the instance is gone, or stopping');
    return instanceUnreachable(instanceId);
  }
}

function toldByPeer(error: ClientError): StafettError | undefined {
  const extra = error instanceof RichClientError ? error.extra : [];
  const info = extra.find((detail) => detail.$type === 'google.rpc.ErrorInfo');
  if (!info || !('reason' in info)) return undefined;
  const reason = ErrorReason[info.reason as keyof typeof ErrorReason] ?? ErrorReason.INTERNAL;
  const retry = extra.find((detail) => detail.$type === 'google.rpc.RetryInfo');
  const delay = retry && 'retryDelay' in retry ? retry.retryDelay : undefined;
  const retryDelayMs = delay && delay.seconds * 1000 + delay.nanos / 1e6;
  return new StafettError(error.code as Status, reason, error.details, info.metadata, retryDelayMs);
}
