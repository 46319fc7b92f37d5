import { randomBytes } from 'node:crypto';
import type { CallContext } from 'nice-grpc';
import { list } from '../engine/codec.js';
import type {
  EventServiceImplementation,
  GetHistoryRequest,
  GetHistoryResponse,
  PresenceMember,
  SubscribeRequest,
  SubscribeResponse,
} from '../gen/stafett/v1/event.js';
import type { DirectStream, DirectStreams } from '../rpc/direct-streams.js';
import { invalidField } from '../rpc/errors.js';
import { checkPageSize, checkPageToken, isId, toDuration, toPageToken } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import type { Channels, Published } from './channels.js';
import { toResponse } from './encoded-events.js';
import {
  checkQueueBytes,
  type PublicationLimits,
  planBatch,
  planFeeds,
  planPolicy,
  planPosition,
  planPublication,
} from './event-requests.js';
import { checkChannel, isPrefix } from './feed-names.js';
import { fromEntry, type Position, toMessage, toPosition } from './publication.js';
import { positionOutOfRange } from './refusals.js';
import type { Subscription } from './subscription.js';

export interface EventServiceOptions {
  /** The channels of a namespace. */
  readonly channels: (namespace: string) => Channels;
  readonly limits: PublicationLimits & { readonly maxSubscriberBytes: number };
  /** What carries the messages to subscribers. */
  readonly streams: DirectStreams<SubscribeRequest, SubscribeResponse>;
}

type Context = CallContext & { namespace: string };

export function createEventService(options: EventServiceOptions): EventServiceImplementation<{ namespace: string }> {
  const { channels, limits, streams } = options;
  return {
    async publish(request, { namespace }) {
      return toPublished(await channels(namespace).publish(planPublication(request, limits)));
    },

    async publishBatch({ publications }, { namespace }) {
      const published = await channels(namespace).publishBatch(planBatch(publications, limits));
      return { publications: published.map(toPublished) };
    },

    // biome-ignore lint/correctness/useYield: what it tells goes straight to its stream
    async *subscribe(request, context) {
      await subscribe(channels(context.namespace), request, context, streams.of(context), limits.maxSubscriberBytes);
    },

    async getHistory(request, { namespace }) {
      return getHistory(channels(namespace), request);
    },

    async getPresence({ channel }, { namespace }) {
      checkChannel('channel', channel);
      const { members, count } = await channels(namespace).presence.members(channel);
      return { members, memberCount: count };
    },
  };
}

function toPublished({ position, duplicate }: Published) {
  return { position: position && toPosition(position), duplicate };
}

type Stream = DirectStream<SubscribeRequest, SubscribeResponse>;

async function subscribe(
  channels: Channels,
  request: SubscribeRequest,
  { signal }: Context,
  stream: Stream,
  queueBytesMax: number,
): Promise<void> {
  const feeds = planFeeds('channels', request.channels);
  const slowPolicy = planPolicy(request.slowPolicy);
  const bytesMax = checkQueueBytes(request.queueBytesMax, queueBytesMax);
  checkPresence(request);
  const subscription = await channels.subscribe({ feeds, slowPolicy, queueBytesMax: bytesMax });
  const leaving: (() => void)[] = [];
  const stop = () => subscription.end();
  signal.addEventListener('abort', stop);
  try {
    if (request.present) await appear(channels, subscription, request, leaving);
    if (request.watchPresence) watchPresence(channels, subscription, request, leaving);
    if (signal.aborted) return;
    await tell(subscription, stream, signal);
  } finally {
    signal.removeEventListener('abort', stop);
    channels.unsubscribe(subscription);
    for (const leave of leaving) leave();
  }
}

/** Writes all that it has to be told, as fast as the transport takes it. */
async function tell(subscription: Subscription, stream: Stream, signal: AbortSignal): Promise<void> {
  let makeRoom = () => {};
  const onRoom = () => makeRoom();
  stream.openToTell(onRoom);
  signal.addEventListener('abort', onRoom); // the transport of a call that is over says nothing more
  const room = () =>
    new Promise<void>((resolve) => {
      makeRoom = resolve;
    });
  try {
    await subscription.deliver((events) => (stream.send(toResponse(events)) || signal.aborted ? undefined : room()));
  } finally {
    signal.removeEventListener('abort', onRoom);
  }
}

function checkPresence({ present, watchPresence: watches, sessionId, channels }: SubscribeRequest): void {
  if (present && sessionId === '') throw invalidField('session_id', 'is needed for a subscriber that is present');
  if (present && !isId(sessionId)) throw sessionNotFound(sessionId);
  if (watches && channels.some(({ channel }) => isPrefix(channel))) {
    throw invalidField('watch_presence', 'is not possible for a prefix, only for channels');
  }
}

async function appear(
  { presence }: Channels,
  subscription: Subscription,
  { channels, sessionId }: SubscribeRequest,
  leaving: (() => void)[],
): Promise<void> {
  for (const { channel } of channels.filter((each) => !isPrefix(each.channel))) {
    const memberId = randomBytes(12).toString('base64url');
    leaving.push(() => presence.depart(memberId));
    await presence.attend(memberId, channel, sessionId, (error) => subscription.end(error));
  }
}

function watchPresence({ presence }: Channels, subscription: Subscription, { channels }: SubscribeRequest, leaving: (() => void)[]): void {
  subscription.presenceListener = (channel) => presence.changed(channel);
  const watcher = {
    onJoin: (value: PresenceMember) => subscription.tell({ event: { $case: 'join', value } }),
    onLeave: (value: PresenceMember) => subscription.tell({ event: { $case: 'leave', value } }),
  };
  for (const { channel } of channels) leaving.push(presence.watch(channel, watcher));
}

async function getHistory(channels: Channels, request: GetHistoryRequest): Promise<GetHistoryResponse> {
  const { channel } = request;
  checkChannel('channel', channel);
  const limit = checkPageSize(request.pageSize);
  const since = request.pageToken === '' ? request.since && planPosition('since', request.since) : parsePageToken(request.pageToken);
  const from = since?.offset ?? 0;
  const [, epoch, entries, last, more, tail, end, size, ageMs] = await channels.engine.run<'replay'>(['replay', channel, from, limit]);
  if (since && since.epoch !== epoch) return getHistory(channels, { ...request, since: undefined, pageToken: '' });
  if (from > end) throw positionOutOfRange(channel);
  const publications = list(entries).map((entry) => fromEntry(epoch, entry));
  const before = publications[0]?.before[0] ?? tail;
  const position: Position = { epoch, offset: more ? last : end };
  return {
    publications: publications.map((publication) => toMessage('', publication)),
    nextPageToken: more ? toPageToken(`${epoch}:${last}`) : '',
    recovered: since !== undefined && before <= from,
    position: toPosition(position),
    policy: size > 0 ? { size, age: toDuration(ageMs) } : undefined,
  };
}

function parsePageToken(token: string): Position {
  const [epoch = '', offset = ''] = checkPageToken(token).split(':');
  if (!/^\d{1,16}$/.test(offset)) throw invalidField('page_token', 'is not a next_page_token of an earlier page');
  return planPosition('page_token', { epoch, offset: BigInt(offset) });
}
