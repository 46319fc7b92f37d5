import type { CallInstanceResponse, ForwardCallRequest } from '../gen/stafett/v1/instance.js';
import { invalidField } from '../rpc/errors.js';
import { instanceUnreachable } from './refusals.js';
import type { Registry } from './registry.js';
import { planCall } from './router.js';
import type { RunningCall } from './running-call.js';
import type { SpentChunks } from './spent-chunks.js';

/** Answers a call that another server passes on: by an instance that is connected here, or not at all. */
export async function* answerPeer(
  registry: Registry,
  requests: AsyncIterable<ForwardCallRequest>,
  signal: AbortSignal,
  spent: SpentChunks,
): AsyncGenerator<CallInstanceResponse> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || first.value.message?.$case !== 'call') throw invalidField('message', 'the first one must be call');
  const plan = planCall(first.value.message.value);
  const served = registry.find(plan.instanceId);
  if (!served) throw instanceUnreachable(plan.instanceId);
  const call = served.call(plan);
  const onAbort = () => call.stop('the caller is gone');
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  void readCredit(iterator, call);
  try {
    for await (const response of call.events()) {
      yield response;
      if (response.event?.$case === 'chunk') spent.add(response.event.value.length);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    call.stop('the caller has enough');
  }
}

async function readCredit(requests: AsyncIterator<ForwardCallRequest>, call: RunningCall): Promise<void> {
  try {
    for (let next = await requests.next(); !next.done; next = await requests.next()) {
      if (next.value.message?.$case === 'creditBytes') call.consumed(Number(next.value.message.value));
    }
  } catch {
    call.stop('the server that passed the call on is gone');
  }
}
