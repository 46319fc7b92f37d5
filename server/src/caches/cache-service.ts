import type { ChannelsByNamespace } from '../events/channels-by-namespace.js';
import { planPosition } from '../events/event-requests.js';
import { toPosition } from '../events/publication.js';
import type { CacheServiceImplementation, WatchInvalidationsRequest } from '../gen/stafett/v1/cache.js';
import { channelOf, planInvalidation } from './invalidation.js';
import { InvalidationWatch } from './invalidation-watch.js';
import { TailCheck } from './tail-check.js';

/** Invalidations of a cache that are remembered for those who were away. Whoever was away for longer clears its cache. */
const HISTORY = { size: 1_000, ageMs: 10 * 60 * 1_000 };

export interface CacheServiceOptions {
  readonly channels: ChannelsByNamespace;
  readonly maxPublicationBytes: number;
}

export function createCacheService({
  channels,
  maxPublicationBytes,
}: CacheServiceOptions): CacheServiceImplementation<{ namespace: string }> {
  const tails = new Map<string, TailCheck>();

  return {
    async invalidate(request, { namespace }) {
      const channel = channelOf(request.cache);
      const data = planInvalidation(request, maxPublicationBytes);
      const publication = { channel, data, history: HISTORY, idempotencyKey: request.requestId };
      const { position } = await channels.of(namespace).publish(publication);
      return { position: position && toPosition(position) };
    },

    async *watchInvalidations(requests: AsyncIterable<WatchInvalidationsRequest>, { namespace, signal }) {
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      if (first.done) return;
      const channel = channelOf(first.value.cache);
      const since = first.value.since && planPosition('since', first.value.since);
      const of = channels.of(namespace);
      const id = `${namespace} ${channel}`;
      const own = tails.get(id) ?? new TailCheck(of, channel);
      tails.set(id, own);
      yield* new InvalidationWatch({ channels: of, channel, since, tails: own }).run(first.value, iterator, signal);
    },
  };
}
