import type { FlagSyncServiceImplementation, SyncFlagsResponse } from '../gen/flagd/sync/v1/sync.js';
import { changesOf } from './changes.js';
import type { EvaluationOptions } from './evaluation-services.js';
import { flagNamespaceOf } from './flag-namespace.js';

/** `flagd.sync.v1`, for providers that evaluate by themselves. */
export function createFlagSyncService({ flags, flagdNamespace }: EvaluationOptions): FlagSyncServiceImplementation<{ namespace: string }> {
  return {
    async *syncFlags({ selector }, context): AsyncGenerator<SyncFlagsResponse> {
      const set = await flags.of(flagNamespaceOf(context, flagdNamespace, selector).namespace);
      const changes = changesOf(set, context.signal);
      let next = changes.next(); // listens from here on
      do {
        yield { flagConfiguration: set.configuration, syncContext: undefined };
        const result = await next;
        if (result.done) return;
        next = changes.next();
      } while (!context.signal.aborted);
    },

    async fetchAllFlags({ selector }, context) {
      const set = await flags.of(flagNamespaceOf(context, flagdNamespace, selector).namespace);
      return { flagConfiguration: set.configuration };
    },

    async getMetadata() {
      return { metadata: {} };
    },
  };
}
