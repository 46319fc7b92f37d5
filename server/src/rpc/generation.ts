import type { CallContext } from 'nice-grpc';
import { invalidField } from './errors.js';

const METADATA_KEY = 'stafett-generation';

/** Which of its connections the client says that this is: 1, 2, …; 0 if it does not say. @throws {StafettError} INVALID_FIELD */
export function generationOf({ metadata }: Pick<CallContext, 'metadata'>): number {
  const text = metadata.get(METADATA_KEY);
  if (text === undefined) return 0;
  if (!/^[1-9]\d{0,14}$/.test(text)) throw invalidField(METADATA_KEY, 'must be a whole number above 0');
  return Number(text);
}
