import type { ConfigView, NodeView, ProcessResult, SlotView } from '../../engine/process-commands.js';
import { SlotState } from '../../gen/stafett/v1/process.js';

/** What the engine told of a managed process, at one moment. Times are Redis' clock, in ms. */
export interface Snapshot {
  readonly name: string;
  /** Undefined: nobody has declared it. */
  readonly config: ConfigView | undefined;
  readonly nodes: readonly NodeView[];
  readonly slots: readonly SlotView[];
  readonly now: number;
  /** Until then nothing is granted. */
  readonly graceUntil: number;
  readonly epoch: string;
}

export function toSnapshot(name: string, [, config, nodes, slots, now, graceUntil]: ProcessResult, epoch: string): Snapshot {
  return { name, config: config || undefined, nodes: list(nodes), slots: list(slots), now, graceUntil, epoch };
}

/** It was told to stop, in this epoch or, as its node says, in the one before. */
export function isDraining([, , , , , , drain, state]: SlotView): boolean {
  return drain === 1 || state === SlotState.DRAINING || state === SlotState.OVERDUE;
}

/** How many workers there are to be: none while it is stopped. */
export function wantedWorkers(config: ConfigView | undefined): number {
  return config ? config[0] * config[1] : 0;
}

/** Lua's empty list may come as an empty object. */
export function list<T>(value: T[]): T[] {
  return Array.isArray(value) ? value : [];
}
