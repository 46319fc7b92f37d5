import type { CallInstanceResponse } from '../gen/stafett/v1/instance.js';

/** A checked call. */
export interface CallPlan {
  readonly instanceId: string;
  readonly name: string;
  /** A JSON object. */
  readonly params: string;
  /** Undefined: until the caller has enough. */
  readonly timeoutMs: number | undefined;
  /** The instance is to refuse what would change something. */
  readonly readOnly: boolean;
}

/** A call that an instance answers, on this server or on another one. */
export interface RunningCall {
  /** The parts of the answer, in order; the last one is `finished`. @throws {StafettError} when there is no end to come. */
  events(): AsyncIterable<CallInstanceResponse>;
  /** The reader has taken so many bytes of chunks: as many more may come. */
  consumed(bytes: number): void;
  /** Nobody wants the rest: tells the instance, and ends `events`, which throws the error if there is one. Once is enough. */
  stop(reason: string, error?: Error): void;
}
