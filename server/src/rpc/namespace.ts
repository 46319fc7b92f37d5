import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { StafettError } from './errors.js';

/** What the middleware adds to every call's context. */
export interface NamespaceContext {
  /** The namespace that the call speaks of; checked. */
  readonly namespace: string;
}

export const NAMESPACE_HEADER = 'stafett-namespace';
export const DEFAULT_NAMESPACE = 'default';

const NAMESPACE = /^[A-Za-z0-9._-]{1,64}$/;

/** Takes the namespace from the call's metadata. */
export const withNamespace: ServerMiddleware<NamespaceContext> = function withNamespaceMiddleware<Request, Response>(
  call: ServerMiddlewareCall<Request, Response, NamespaceContext>,
  context: CallContext,
) {
  return call.next(call.request, Object.assign(context, { namespace: readNamespace(context) }));
};

function readNamespace(context: CallContext): string {
  const values = context.metadata.getAll(NAMESPACE_HEADER);
  return values.length === 0 ? DEFAULT_NAMESPACE : checkNamespace(values);
}

/** The one namespace that was given. @throws {StafettError} INVALID_NAMESPACE */
export function checkNamespace(values: readonly unknown[]): string {
  const [value] = values;
  if (values.length === 1 && typeof value === 'string' && NAMESPACE.test(value)) return value;
  throw new StafettError(
    Status.INVALID_ARGUMENT,
    ErrorReason.INVALID_NAMESPACE,
    `metadata ${NAMESPACE_HEADER}: must be given at most once, with 1 to 64 of the characters A–Z a–z 0–9 . _ -`,
    { [NAMESPACE_HEADER]: values.map(String).join(', ') },
  );
}
