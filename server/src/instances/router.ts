import type { NamespaceEngine } from '../engine/namespace-engine.js';
import type { CallInstanceRequest } from '../gen/stafett/v1/instance.js';
import { invalidField } from '../rpc/errors.js';
import { checkDuration, checkId, isId } from '../rpc/fields.js';
import { ForwardedCall } from './forwarded-call.js';
import { CALL_TIMEOUT_MS_MAX, PARAMS_BYTES_MAX } from './limits.js';
import type { Peers } from './peers.js';
import { instanceNotFound, instanceUnreachable } from './refusals.js';
import type { Registry } from './registry.js';
import type { CallPlan, RunningCall } from './running-call.js';

/** @throws {StafettError} INVALID_FIELD, INSTANCE_NOT_FOUND */
export function planCall({ instanceId, name, params, timeout, readOnly }: CallInstanceRequest): CallPlan {
  if (instanceId === '') throw invalidField('instance_id', 'is empty');
  if (!isId(instanceId)) throw instanceNotFound(instanceId.slice(0, 64));
  checkId('name', name);
  const timeoutMs = timeout && checkDuration('timeout', timeout, 1, CALL_TIMEOUT_MS_MAX);
  return { instanceId, name, params: checkParams(params), timeoutMs, readOnly };
}

function checkParams(params: string): string {
  const bytes = Buffer.byteLength(params);
  if (bytes > PARAMS_BYTES_MAX) throw invalidField('params', `${bytes} bytes; at most ${PARAMS_BYTES_MAX} are allowed`);
  if (params === '') return '{}';
  let value: unknown;
  try {
    value = JSON.parse(params);
  } catch {
    throw invalidField('params', 'is no JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidField('params', 'must be a JSON object');
  return params;
}

export interface RouterOptions {
  readonly engine: NamespaceEngine;
  readonly registry: Registry;
  readonly serverId: string;
  readonly peers: Peers;
}

/** Finds the server that has the instance's stream, which is mostly not the one that was asked. @throws {StafettError} */
export async function route({ engine, registry, serverId, peers }: RouterOptions, plan: CallPlan): Promise<RunningCall> {
  const { instanceId } = plan;
  const served = registry.find(instanceId);
  if (served) return served.call(plan);
  const result = await engine.run<'instance'>(['instance', instanceId]);
  if (result[0] === 'none') throw instanceNotFound(instanceId);
  const [, , holder] = result[1];
  const peer = holder === '' || holder === serverId ? undefined : await peers.find(holder);
  if (!peer) throw instanceUnreachable(instanceId);
  return new ForwardedCall(peer, engine.namespace, plan);
}
