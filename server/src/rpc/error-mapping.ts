import { randomUUID } from 'node:crypto';
import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import { ServerError, Status } from 'nice-grpc-common';
import { ErrorInfo, errorDetailsServerMiddleware, RetryInfo, RichServerError } from 'nice-grpc-error-details';
import type { Logger } from 'pino';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { isAbort, type Metadata, StafettError } from './errors.js';

const DOMAIN = 'stafett';

/** Trailers travel in HTTP/2 headers, of which some clients take no more than 8 KiB, base64 included. */
const MESSAGE_CHARS_MAX = 512;
const METADATA_BYTES_MAX = 2_048;

/** The one place where a refusal becomes a gRPC status with its `google.rpc` details. */
export function toRichError(error: StafettError): RichServerError {
  const { reason, metadata, retryDelayMs } = error;
  const info = ErrorInfo.fromPartial({ reason: ErrorReason[reason], domain: DOMAIN, metadata: fit(metadata) });
  if (retryDelayMs === undefined) return new RichServerError(error.status, cut(error.message, MESSAGE_CHARS_MAX), [info]);
  const seconds = Math.floor(retryDelayMs / 1000);
  const retry = RetryInfo.fromPartial({ retryDelay: { seconds, nanos: Math.round((retryDelayMs - seconds * 1000) * 1e6) } });
  return new RichServerError(error.status, cut(error.message, MESSAGE_CHARS_MAX), [info, retry]);
}

/** Refusals become their status; a cancelled call stays one; everything else is a defect, of which only the log knows more. */
export function mapErrors(logger: Logger): ServerMiddleware {
  return async function* mapErrorsMiddleware<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      if (error instanceof ServerError || isAbort(error)) throw error;
      const refusal = error instanceof StafettError ? error : reportDefect(logger, call.method.path, error);
      return yield* withDetails(toRichError(refusal), call, context);
    }
  };
}

/** Throws the error and puts its details into the trailer. Only when there is one: a layer costs each message of a stream. */
function withDetails<Request, Response>(error: RichServerError, call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
  const next = () => {
    throw error;
  };
  return errorDetailsServerMiddleware({ ...call, next } as ServerMiddlewareCall<Request, Response>, context);
}

/** Logs something that should not have happened and makes the refusal that tells nothing of it but where it is logged. */
export function reportDefect(logger: Logger, where: string, error: unknown): StafettError {
  const errorId = randomUUID();
  logger.error({ err: error, error_id: errorId, where }, 'a defect; the caller was told its error_id');
  const message = `the server failed; its log says more under error_id ${errorId}`;
  return new StafettError(Status.INTERNAL, ErrorReason.INTERNAL, message, { error_id: errorId });
}

/** Keeps as many entries, and as much of the last one, as fit. */
function fit(metadata: Metadata): Metadata {
  const fitting: Metadata = {};
  let left = METADATA_BYTES_MAX;
  for (const [key, value] of Object.entries(metadata)) {
    const bytes = Buffer.byteLength(value);
    // A character has at most 4 bytes in UTF-8.
    fitting[key] = bytes <= left ? value : cut(value, Math.floor(left / 4));
    left -= Math.min(bytes, left);
    if (left === 0) break;
  }
  return fitting;
}

/** Cuts between characters: half a surrogate pair could not be sent. */
function cut(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text;
  return `${text.slice(0, Math.max(0, charsMax - 1)).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
