import type { InvalidateRequest, Invalidation } from '../gen/stafett/v1/cache.js';
import type { Position } from '../gen/stafett/v1/event.js';
import { invalidField } from '../rpc/errors.js';
import { checkId, checkName, checkText } from '../rpc/fields.js';

/** The channel of a cache. Nobody outside can reach it. */
const CHANNEL_PREFIX = '$cache/';
const NAME_BYTES_MAX = 200;
const KEY_BYTES_MAX = 1_024;
const TARGETS_MAX = 1_000;
const ORIGIN_BYTES_MAX = 64;

/** @throws {StafettError} INVALID_FIELD */
export function channelOf(cache: string): string {
  checkName('cache', cache);
  checkText('cache', cache, NAME_BYTES_MAX);
  if (cache.includes('*')) throw invalidField('cache', 'contains *');
  return CHANNEL_PREFIX + cache;
}

/** @param bytesMax of a publication. @returns what is published. @throws {StafettError} INVALID_FIELD */
export function planInvalidation(request: InvalidateRequest, bytesMax: number): string {
  const { keys, prefixes, tags, all, value, valueTags, origin, requestId } = request;
  const count = keys.length + prefixes.length + tags.length + valueTags.length;
  if (count === 0 && !all)
    throw invalidField('keys', 'is empty, and so are prefixes and tags, and all is not set: there is nothing to remove');
  if (count > TARGETS_MAX) throw invalidField('keys', `${count} keys, prefixes and tags; at most ${TARGETS_MAX} are allowed`);
  for (const [field, texts] of Object.entries({ keys, prefixes, tags, value_tags: valueTags })) {
    for (const text of texts) checkTarget(field, text);
  }
  checkText('origin', origin, ORIGIN_BYTES_MAX);
  if (requestId !== '') checkId('request_id', requestId);
  checkValue(request);
  const data = JSON.stringify([keys, prefixes, tags, all ? 1 : 0, value ?? null, valueTags, origin, requestId]);
  if (Buffer.byteLength(data) > bytesMax) {
    throw invalidField(
      value === undefined ? 'keys' : 'value',
      `the message would be ${Buffer.byteLength(data)} bytes; at most ${bytesMax} are allowed`,
    );
  }
  return data;
}

/** As it was published. */
export function toInvalidation(data: string, position: Position | undefined): Invalidation {
  const [keys, prefixes, tags, all, value, valueTags, origin, requestId] = JSON.parse(data) as [
    ...[string[], string[], string[], number, string | null, string[], string, string],
  ];
  return { keys, prefixes, tags, all: all === 1, value: value ?? undefined, valueTags, origin, requestId, position };
}

function checkTarget(field: string, text: string): void {
  if (text === '') throw invalidField(field, 'one of them is empty');
  checkText(field, text, KEY_BYTES_MAX);
}

function checkValue({ keys, prefixes, tags, all, value, valueTags }: InvalidateRequest): void {
  if (value === undefined) {
    if (valueTags.length > 0) throw invalidField('value_tags', 'are given without a value');
    return;
  }
  if (keys.length !== 1 || prefixes.length > 0 || tags.length > 0 || all)
    throw invalidField('value', 'needs exactly one key, and nothing else');
  try {
    JSON.parse(value);
  } catch (error) {
    throw invalidField('value', `is no JSON text: ${(error as Error).message}`);
  }
}
