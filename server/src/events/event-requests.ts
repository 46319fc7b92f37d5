import { type ChannelSubscription, type HistoryPolicy, type Position, type PublishRequest, SlowPolicy } from '../gen/stafett/v1/event.js';
import { invalidField } from '../rpc/errors.js';
import { checkDuration, checkId, checkText } from '../rpc/fields.js';
import type { NewPublication } from './channels.js';
import { checkChannel, checkFeed } from './feed-names.js';
import type { SlowPolicy as Policy } from './outbound-queue.js';
import type { Position as Place } from './publication.js';

/** Checks of the requests. Each throws INVALID_ARGUMENT and names the field. */

export const FEEDS_MAX = 256;
const BATCH_MAX = 1_000;
const QUEUE_BYTES_MIN = 4_096;
const AGE_MS_MIN = 1_000;
const EPOCH = /^[A-Za-z0-9_-]{1,32}$/;
const OFFSET_MAX = 2n ** 53n;

export interface PublicationLimits {
  readonly maxPublicationBytes: number;
  readonly maxHistorySize: number;
  readonly maxHistoryAgeMs: number;
}

export function planPublication(request: PublishRequest, limits: PublicationLimits, at = ''): NewPublication {
  const { channel, data, key, idempotencyKey, history } = request;
  checkChannel(`${at}channel`, channel);
  checkText(`${at}data`, data, limits.maxPublicationBytes);
  if (!isJson(data)) throw invalidField(`${at}data`, 'is not a JSON text');
  checkText(`${at}key`, key);
  if (idempotencyKey !== '') checkId(`${at}idempotency_key`, idempotencyKey);
  return { channel, data, key, idempotencyKey, history: history && planHistory(history, limits, at) };
}

export function planBatch(requests: PublishRequest[], limits: PublicationLimits): NewPublication[] {
  if (requests.length === 0) throw invalidField('publications', 'at least one is needed');
  if (requests.length > BATCH_MAX) throw invalidField('publications', `${requests.length} of them; at most ${BATCH_MAX} are allowed`);
  return requests.map((request, i) => planPublication(request, limits, `publications[${i}].`));
}

function planHistory({ size, age }: HistoryPolicy, { maxHistorySize, maxHistoryAgeMs }: PublicationLimits, at: string) {
  if (size < 1 || size > maxHistorySize) throw invalidField(`${at}history.size`, `${size}; must be from 1 to ${maxHistorySize}`);
  if (!age) throw invalidField(`${at}history.age`, 'is missing');
  return { size, ageMs: checkDuration(`${at}history.age`, age, AGE_MS_MIN, maxHistoryAgeMs) };
}

export function planFeeds(field: string, channels: ChannelSubscription[]): { name: string; since: Place | undefined }[] {
  if (channels.length === 0) throw invalidField(field, 'at least one is needed');
  if (channels.length > FEEDS_MAX) throw invalidField(field, `${channels.length} of them; at most ${FEEDS_MAX} are allowed`);
  const feeds = channels.map(({ channel, since }, i) => {
    checkFeed(`${field}[${i}].channel`, channel);
    return { name: channel, since: since && planPosition(`${field}[${i}].since`, since) };
  });
  if (new Set(feeds.map(({ name }) => name)).size < feeds.length) throw invalidField(field, 'a channel is given twice');
  return feeds;
}

export function planPosition(field: string, { epoch, offset }: Position): Place {
  if (!EPOCH.test(epoch)) throw invalidField(`${field}.epoch`, 'is not the epoch of a position');
  if (offset >= OFFSET_MAX) throw invalidField(`${field}.offset`, 'is not the offset of a position: it is too high');
  return { epoch, offset: Number(offset) };
}

const POLICIES: Readonly<Record<number, Policy>> = {
  [SlowPolicy.UNSPECIFIED]: 'disconnect',
  [SlowPolicy.DISCONNECT]: 'disconnect',
  [SlowPolicy.DROP_OLDEST]: 'drop-oldest',
  [SlowPolicy.CONFLATE]: 'conflate',
};

export function planPolicy(policy: SlowPolicy): Policy {
  const known = POLICIES[policy];
  if (known === undefined) throw invalidField('slow_policy', `${policy} is none that there is`);
  return known;
}

export function checkQueueBytes(bytes: number, bytesMax: number): number {
  if (bytes !== 0 && (bytes < QUEUE_BYTES_MIN || bytes > bytesMax)) {
    throw invalidField('queue_bytes_max', `${bytes}; must be 0, or from ${QUEUE_BYTES_MIN} to ${bytesMax}`);
  }
  return bytes;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
