import type { CallDescription, Instance } from '../gen/stafett/v1/instance.js';
import { toDate } from '../views.js';

/** A running process that can be called. */
export interface InstanceView {
  /** Its id, which is the id of its session. */
  readonly id: string;
  readonly service: string;
  readonly version: string;
  readonly host: string;
  /** Where others reach it, if it said so. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** When the process began, by its own clock; undefined if it did not say. */
  readonly startTime: Date | undefined;
  /** Since when it is listed, by the clock of Redis. */
  readonly registerTime: Date;
  /** False: its connection broke, and it may be back in a moment. */
  readonly connected: boolean;
  readonly calls: readonly Readonly<CallDescription>[];
}

/** What a watch tells. */
export type InstanceEvent =
  /** It is there: new, or not as it was told before. */
  | { readonly type: 'present'; readonly instance: InstanceView }
  | { readonly type: 'gone'; readonly instance: InstanceView }
  /** All that were there at the beginning have been told. */
  | { readonly type: 'snapshot-end' };

export function toInstanceView({ instanceId, startTime, registerTime, ...rest }: Instance): InstanceView {
  return { id: instanceId, ...rest, startTime: startTime && toDate(startTime), registerTime: toDate(registerTime) };
}
