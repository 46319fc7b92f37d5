import type { Caches } from '../../caches.js';
import type { Settings } from '../../runtime-settings.js';
import type { CallOffer } from '../handler.js';
import { cacheInvalidate } from './cache-invalidate.js';
import { listCaches } from './caches.js';
import { cpuProfile } from './cpu-profile.js';
import { gcStats } from './gc-stats.js';
import { heapSnapshot } from './heap-snapshot.js';
import { info } from './info.js';
import { type LevelledLogger, logLevel } from './log-level.js';
import { settingOverride } from './setting-override.js';
import { listSettings } from './settings.js';
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
  /** The caches of this client: figures, and the **keys** that they hold. Privileged. Default false. */
  readonly caches?: boolean;
  /** Removes entries from the caches of this process alone. Privileged. Default false. */
  readonly 'cache-invalidate'?: boolean;
  /** The settings that are defined here, as this process sees them, with their **values**. Privileged. Default false. */
  readonly settings?: boolean;
  /** Gives a setting another value in this process alone, for a time. Privileged. Default false. */
  readonly 'setting-override'?: boolean;
}

/** Of the client, what calls show and change. */
export interface Inside {
  readonly caches: Caches;
  readonly settings: Settings;
}

/** The offers of those that are wanted. */
export function builtInOffers(wanted: BuiltIns, service: string, { caches, settings }: Inside): Map<string, CallOffer> {
  const offers = new Map<string, CallOffer>();
  if (wanted.info ?? true) offers.set('info', info());
  if (wanted['gc-stats'] ?? true) offers.set('gc-stats', gcStats());
  if (wanted['thread-dump']) offers.set('thread-dump', threadDump(service));
  if (wanted['heap-snapshot']) offers.set('heap-snapshot', heapSnapshot(service));
  if (wanted['cpu-profile']) offers.set('cpu-profile', cpuProfile(service));
  const logger = wanted['log-level'];
  if (logger) offers.set('log-level', logLevel(logger));
  if (wanted.caches) offers.set('caches', listCaches(caches));
  if (wanted['cache-invalidate']) offers.set('cache-invalidate', cacheInvalidate(caches));
  if (wanted.settings) offers.set('settings', listSettings(settings));
  if (wanted['setting-override']) offers.set('setting-override', settingOverride(settings));
  return offers;
}
