import type { CallContext } from 'nice-grpc';
import { invalidField } from '../rpc/errors.js';
import { NAMESPACE_HEADER } from '../rpc/namespace.js';

const SELECTOR_HEADER = 'flagd-selector';
const SELECTOR = /^(?:namespace=)?([A-Za-z0-9._-]{1,64})$/;

export interface FlagNamespace {
  readonly namespace: string;
  /** It was chosen by a selector, which providers do not send when they ask for events. */
  readonly selected: boolean;
}

/** Providers of OpenFeature know no namespaces; what they call a selector names one. @throws {StafettError} INVALID_FIELD */
export function flagNamespaceOf(context: CallContext & { namespace: string }, fallback: string, selector = ''): FlagNamespace {
  const text = context.metadata.get(SELECTOR_HEADER) ?? selector;
  if (text !== '') {
    const namespace = SELECTOR.exec(text)?.[1];
    if (namespace === undefined) {
      throw invalidField(
        SELECTOR_HEADER,
        'must be a namespace: 1 to 64 of the characters A–Z a–z 0–9 . _ -, with or without `namespace=` before it',
      );
    }
    return { namespace, selected: true };
  }
  return { namespace: context.metadata.has(NAMESPACE_HEADER) ? context.namespace : fallback, selected: false };
}
