import type { CallContext } from 'nice-grpc';
import type { ServiceImplementation as V1 } from '../gen/flagd/evaluation/v1/evaluation.js';
import type { EventStreamResponse, ServiceImplementation as V2 } from '../gen/flagd/evaluation/v2/evaluation.js';
import { changesOf } from './changes.js';
import { evaluate, evaluateAll, type FlagType, type Outcome } from './evaluate.js';
import { flagNamespaceOf } from './flag-namespace.js';
import type { Flags } from './flags.js';
import { flagDisabled, flagTypeMismatch } from './refusals.js';

export interface EvaluationOptions {
  readonly flags: Flags;
  /** Of providers that do not say which they want. */
  readonly flagdNamespace: string;
}

type Context = CallContext & { namespace: string };
interface Request {
  readonly flagKey: string;
  readonly context?: Record<string, unknown> | undefined;
}

/** `flagd.evaluation.v2`: what has no value is told without one. */
export function createEvaluationV2(options: EvaluationOptions): V2<{ namespace: string }> {
  const { resolve, all, events } = common(options);
  return {
    resolveAll: all,
    resolveBoolean: (request, context) => resolve<boolean>('boolean', request, context),
    resolveString: (request, context) => resolve<string>('string', request, context),
    resolveFloat: (request, context) => resolve<number>('number', request, context),
    resolveInt: async (request, context) => toInt(request, await resolve<number>('number', request, context)),
    resolveObject: (request, context) => resolve<Record<string, unknown>>('object', request, context),
    eventStream: (_, context) => events(context),
  };
}

/** `flagd.evaluation.v1`: a disabled flag is not found, and a missing value is an empty one. */
export function createEvaluationV1(options: EvaluationOptions): V1<{ namespace: string }> {
  const { resolve: resolveAny, all, events } = common(options);
  async function resolve<T>(type: FlagType, request: Request, context: Context, empty: T) {
    const { value, variant, reason, metadata } = await resolveAny<T>(type, request, context);
    if (reason === 'DISABLED') throw flagDisabled(request.flagKey);
    return { value: value ?? empty, variant: variant ?? '', reason, metadata };
  }
  return {
    async resolveAll(request, context) {
      const { flags, metadata } = await all(request, context);
      const filled = Object.entries(flags).map(([key, flag]) => [key, { ...flag, variant: flag.variant ?? '' }]);
      return { flags: Object.fromEntries(filled), metadata };
    },
    resolveBoolean: (request, context) => resolve('boolean', request, context, false),
    resolveString: (request, context) => resolve('string', request, context, ''),
    resolveFloat: (request, context) => resolve('number', request, context, 0),
    resolveInt: async (request, context) => toInt(request, await resolve('number', request, context, 0)),
    resolveObject: (request, context) => resolve<Record<string, unknown>>('object', request, context, {}),
    eventStream: (_, context) => events(context),
  };
}

function common({ flags, flagdNamespace }: EvaluationOptions) {
  return {
    async resolve<T>(type: FlagType, { flagKey, context: about }: Request, context: Context): Promise<Outcome<T>> {
      const { namespace, selected } = flagNamespaceOf(context, flagdNamespace);
      const { core } = await flags.of(namespace);
      const outcome = evaluate<T>(core, type, flagKey, about);
      // Providers keep what is STATIC until an event tells of a change; but they ask for events without their selector.
      return selected && outcome.reason === 'STATIC' ? { ...outcome, reason: 'DEFAULT' } : outcome;
    },

    async all({ context: about }: Pick<Request, 'context'>, context: Context) {
      const { core } = await flags.of(flagNamespaceOf(context, flagdNamespace).namespace);
      return { flags: evaluateAll(core, about), metadata: core.getFlagSetMetadata() };
    },

    async *events(context: Context): AsyncGenerator<EventStreamResponse> {
      const set = await flags.of(flagNamespaceOf(context, flagdNamespace).namespace);
      const changes = changesOf(set, context.signal);
      const first = changes.next(); // listens from here on
      yield { type: 'provider_ready', data: undefined };
      for (let next = await first; !next.done; next = await changes.next()) {
        const changed = Object.fromEntries(next.value.map((key) => [key, { type: 'update', source: 'stafett' }]));
        yield { type: 'configuration_change', data: { flags: changed } };
      }
    },
  };
}

function toInt<T extends { readonly value: number | undefined }>({ flagKey }: Request, outcome: T) {
  const { value } = outcome;
  if (value !== undefined && !Number.isSafeInteger(value)) throw flagTypeMismatch(flagKey, 'whole number');
  return { ...outcome, value: value === undefined ? undefined : BigInt(value) };
}
