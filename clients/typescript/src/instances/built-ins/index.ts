import type { CallOffer } from '../handler.js';
import { cpuProfile } from './cpu-profile.js';
import { gcStats } from './gc-stats.js';
import { heapSnapshot } from './heap-snapshot.js';
import { info } from './info.js';
import { type LevelledLogger, logLevel } from './log-level.js';
import { threadDump } from './thread-dump.js';

export type { LevelledLogger };

/** Which calls of the client's own are offered. */
export interface BuiltIns {
  /** What the process is: versions, memory, CPU, event loop. No environment and no arguments. Default true. */
  readonly info?: boolean;
  /** The garbage collections of some seconds, and the heap's figures. Default true. */
  readonly 'gc-stats'?: boolean;
  /** The stacks of JavaScript and what keeps the event loop. Privileged. Default false. */
  readonly 'thread-dump'?: boolean;
  /** All objects in memory, **secrets included**. The process stands still while it is taken. Privileged. Default false. */
  readonly 'heap-snapshot'?: boolean;
  /** Where the time goes. Privileged. Default false. */
  readonly 'cpu-profile'?: boolean;
  /** A logger (pino's, or any with a `level`) whose level can be looked at and changed. Privileged. Default: none. */
  readonly 'log-level'?: LevelledLogger | false;
}

/** The offers of those that are wanted. */
export function builtInOffers(wanted: BuiltIns, service: string): Map<string, CallOffer> {
  const offers = new Map<string, CallOffer>();
  if (wanted.info ?? true) offers.set('info', info());
  if (wanted['gc-stats'] ?? true) offers.set('gc-stats', gcStats());
  if (wanted['thread-dump']) offers.set('thread-dump', threadDump(service));
  if (wanted['heap-snapshot']) offers.set('heap-snapshot', heapSnapshot(service));
  if (wanted['cpu-profile']) offers.set('cpu-profile', cpuProfile(service));
  const logger = wanted['log-level'];
  if (logger) offers.set('log-level', logLevel(logger));
  return offers;
}
