import type { InstanceView } from '../engine/commands.js';
import type { CallDescription, Instance, Registration } from '../gen/stafett/v1/instance.js';
import { invalidField } from '../rpc/errors.js';
import { checkId, checkText, fromTimestamp, isId, toTimestamp } from '../rpc/fields.js';
import { sessionNotFound } from '../sessions/refusals.js';
import { CALLS_OFFERED_MAX, LABELS_MAX, RECORD_BYTES_MAX } from './limits.js';

/** What an instance tells of itself, as it is kept in Redis. */
export interface InstanceRecord {
  readonly service: string;
  readonly version: string;
  readonly host: string;
  readonly address: string;
  readonly labels: Record<string, string>;
  /** By the instance's clock, ms; 0 if it did not say. */
  readonly startMs: number;
  readonly calls: CallDescription[];
}

/** @throws {StafettError} INVALID_FIELD, SESSION_NOT_FOUND */
export function checkRegistration(registration: Registration): InstanceRecord {
  const { sessionId, service, version, host, address, labels, startTime, calls } = registration;
  if (!isId(sessionId)) throw sessionNotFound(sessionId);
  if (service === '') throw invalidField('register.service', 'is empty');
  for (const [field, text] of Object.entries({ service, version, host, address })) checkText(`register.${field}`, text);
  checkLabels('register.labels', labels);
  checkCalls(calls);
  const record = { service, version, host, address, labels, startMs: startTime ? fromTimestamp(startTime) : 0, calls };
  const bytes = Buffer.byteLength(JSON.stringify(record));
  if (bytes > RECORD_BYTES_MAX) throw invalidField('register', `${bytes} bytes in all; at most ${RECORD_BYTES_MAX} are allowed`);
  return record;
}

export function checkLabels(field: string, labels: Record<string, string>): void {
  const entries = Object.entries(labels);
  if (entries.length > LABELS_MAX) throw invalidField(field, `${entries.length} labels; at most ${LABELS_MAX} are allowed`);
  for (const [key, value] of entries) {
    if (key === '') throw invalidField(field, 'a key is empty');
    checkText(field, key);
    checkText(field, value);
  }
}

function checkCalls(calls: readonly CallDescription[]): void {
  if (calls.length > CALLS_OFFERED_MAX) {
    throw invalidField('register.calls', `${calls.length} calls; at most ${CALLS_OFFERED_MAX} are allowed`);
  }
  for (const { name, description } of calls) {
    checkId('register.calls.name', name);
    checkText('register.calls.description', description);
  }
  if (new Set(calls.map(({ name }) => name)).size < calls.length) throw invalidField('register.calls', 'a name is given twice');
}

export function toInstance([instanceId, since, server, packed]: InstanceView): Instance {
  const { startMs, ...record } = JSON.parse(packed) as InstanceRecord;
  return {
    instanceId,
    ...record,
    startTime: startMs > 0 ? toTimestamp(startMs) : undefined,
    registerTime: toTimestamp(since),
    connected: server !== '',
  };
}

/** Which instances somebody wants to see. */
export interface Filter {
  readonly service: string;
  readonly labels: Record<string, string>;
}

/** @throws {StafettError} INVALID_FIELD */
export function checkFilter({ service, labels }: Filter): Filter {
  checkText('service', service);
  checkLabels('labels', labels);
  return { service, labels };
}

export function matches({ service, labels }: Filter, instance: Instance): boolean {
  if (service !== '' && service !== instance.service) return false;
  return Object.entries(labels).every(([key, value]) => Object.hasOwn(instance.labels, key) && instance.labels[key] === value);
}
