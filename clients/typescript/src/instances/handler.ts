import type { DurationLike } from '../durations.js';

/** The parameters of a call: whatever its caller sent, as JSON. Over HTTP all values are texts. **Check them.** */
export type CallParams = Readonly<Record<string, unknown>>;

/** What an answer is. */
export interface AnswerInfo {
  /** A media type. Default: `text/plain` for texts, `application/json` and `application/x-ndjson` for values, else `application/octet-stream`. */
  readonly contentType?: string;
  /** The name of a file to save it in, without a path. */
  readonly fileName?: string;
  /** How many bytes it has, where that is known beforehand. */
  readonly totalBytes?: number;
}

/** The call that a handler answers. */
export interface IncomingCall {
  readonly name: string;
  /** Aborted when nobody wants the answer any more: stop the work. */
  readonly signal: AbortSignal;
  /** Until when the caller waits, ms from the beginning of the call; undefined if it did not say. */
  readonly timeoutMs: number | undefined;
  /** The caller only wants to look, as with HTTP `GET`: refuse what would change something. See {@link CallOffer.changes}. */
  readonly readOnly: boolean;
  /** Says what the answer is; before the first chunk. */
  start(info: AnswerInfo): void;
  /** Tells the caller how far the work is. @param percent 0 to 100, or undefined where nobody can tell. */
  progress(percent: number | undefined, message?: string): void;
}

/** A part of an answer: bytes, a text, or any other value, which is sent as a line of JSON. */
export type Chunk = Uint8Array | string | object | number | boolean | null;

/**
 * Answers a call: with parts, one by one (it is not asked for the next one before there is room for it), or with one value.
 * What it throws is told to the caller: a {@link CallRefusal} with its reason and metadata, anything else by its message.
 */
export type CallHandler = (params: CallParams, call: IncomingCall) => AsyncIterable<Chunk> | Promise<Chunk> | Chunk;

/** A handler and what is to be known of it. */
export interface CallOffer {
  readonly handle: CallHandler;
  /** For people; shown in lists. At most 256 bytes. */
  readonly description?: string;
  /** It shows the inside of the process, or changes it: servers refuse it unless their operator lets callers make such calls. Default false. */
  readonly privileged?: boolean;
  /** Only one at a time. Default false. */
  readonly exclusive?: boolean;
  /** It changes something: who only wants to look, as with HTTP `GET`, is refused by itself. Default false. */
  readonly changes?: boolean;
}

/** How a handler refuses a call, in words that programs understand. */
export class CallRefusal extends Error {
  override readonly name: string = 'CallRefusal';

  constructor(
    /** Capital letters, digits and `_`; at most 64. The caller finds it as `metadata.cause` of CALL_FAILED. */
    readonly reason: string,
    message: string,
    readonly metadata: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** @throws {CallRefusal} INVALID_PARAMS unless it is a number, or a text of one, between the bounds. */
export function numberParam(params: CallParams, name: string, fallback: number, min: number, max: number): number {
  const value = params[name] === undefined ? fallback : Number(params[name]);
  if (value >= min && value <= max) return value;
  throw new CallRefusal('INVALID_PARAMS', `${name}: must be a number from ${min} to ${max}`, { param: name });
}

/** A change that is asked for by somebody who only wants to look. */
export function readOnlyRefusal(): CallRefusal {
  return new CallRefusal('READ_ONLY', 'it would change something, and the caller only wants to look; over HTTP use POST');
}

/** How to call an instance. */
export interface CallOptions {
  /** Gives up: the instance is told to stop, and the call throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** When to give up; at most 24 h. Default: never by itself. */
  readonly timeout?: DurationLike;
  /** Only to look: what would change something is refused with the cause READ_ONLY. Default false. */
  readonly readOnly?: boolean;
  /** Told how far the work is. */
  readonly onProgress?: (progress: { readonly percent: number | undefined; readonly message: string }) => void;
  /** Told what the answer is, before its first chunk. */
  readonly onStart?: (info: Required<Omit<AnswerInfo, 'totalBytes'>> & { readonly totalBytes: number | undefined }) => void;
}
