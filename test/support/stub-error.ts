import type { CallOptions, ClientMiddlewareCall } from 'nice-grpc-common';
import { ClientError } from 'nice-grpc-common';
import { ErrorInfo, errorDetailsClientMiddleware, RetryInfo, RichClientError } from 'nice-grpc-error-details';
import { ErrorReason, type Error as PipelineError } from '../../server/src/gen/stafett/v1/error.js';
import { toMs } from './stub-duration.js';

interface Facts {
  readonly code: number;
  readonly message: string;
  /** Empty if the answer had no ErrorInfo. */
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryDelayMs?: number;
}

/** A refusal as the caller sees it, of a call or of a command in a pipeline alike. */
export class StubError extends Error implements Facts {
  override readonly name = 'StubError';
  readonly code: number;
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryDelayMs?: number;

  constructor({ code, message, reason, domain, metadata, retryDelayMs }: Facts) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.domain = domain;
    this.metadata = metadata;
    if (retryDelayMs !== undefined) this.retryDelayMs = retryDelayMs;
  }
}

/** Makes a StubError of the status of a call. An aborted call keeps its AbortError. */
export async function* stubErrors<Request, Response>(call: ClientMiddlewareCall<Request, Response>, options: CallOptions) {
  try {
    return yield* errorDetailsClientMiddleware(call, options);
  } catch (error) {
    throw error instanceof ClientError ? fromStatus(error) : error;
  }
}

export function fromPipeline({ code, reason, message, metadata, retryDelay }: PipelineError): StubError {
  const retry = retryDelay && { retryDelayMs: toMs(retryDelay) };
  return new StubError({ code, message, reason: ErrorReason[reason], domain: 'stafett', metadata, ...retry });
}

function fromStatus(error: ClientError): StubError {
  const extra = error instanceof RichClientError ? error.extra : [];
  let info: ErrorInfo | undefined;
  let retryDelayMs: number | undefined;
  for (const detail of extra) {
    if (detail.$type === ErrorInfo.$type) info = detail as ErrorInfo;
    if (detail.$type !== RetryInfo.$type) continue;
    const { seconds = 0, nanos = 0 } = (detail as RetryInfo).retryDelay ?? {};
    retryDelayMs = seconds * 1000 + nanos / 1e6;
  }
  const { reason = '', domain = '', metadata = {} } = info ?? {};
  return new StubError({
    code: error.code,
    message: error.details,
    reason,
    domain,
    metadata,
    ...(retryDelayMs !== undefined && { retryDelayMs }),
  });
}
