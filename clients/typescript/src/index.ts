export type { Cache, CacheStats, Invalidate, SetOptions } from './cache.js';
export type { CacheOptions, Caches } from './caches.js';
export type { SessionState } from './connection.js';
export type { DurationLike } from './durations.js';
export { type ClientReason, StafettError, type StafettErrorOptions } from './errors.js';
export type { ChannelEvent, MemberView, Position, PublicationView } from './event-views.js';
export type { Events, PublishOptions, SubscribeOptions } from './events.js';
export { FencedStore, type TokenStore } from './fenced-store.js';
export type { BuiltIns, LevelledLogger } from './instances/built-ins/index.js';
export type { InstanceCall } from './instances/call.js';
export {
  type AnswerInfo,
  type CallHandler,
  type CallOffer,
  type CallOptions,
  type CallParams,
  CallRefusal,
  type Chunk,
  type IncomingCall,
} from './instances/handler.js';
export type { Instances, Served, ServeOptions } from './instances/instances.js';
export type { InstanceEvent, InstanceView } from './instances/views.js';
export type { InstanceFilter } from './instances/watch.js';
export type { LiveSetting } from './live-setting.js';
export { Lock } from './lock.js';
export type { AcquireOptions, Locks, Names, TryLock, TryOptions, TryResult, Work } from './locks.js';
export type { ManagedProcess, OwnSlot } from './managed-process.js';
export type { ConnectOptions } from './options.js';
export type {
  ClusterState,
  PendingReason,
  ProcessConfig,
  ProcessNodeView,
  ProcessStatus,
  SlotState,
  WorkerSlotView,
} from './process-views.js';
export type { ManageOptions, Processes, ProcessUpdate } from './processes.js';
export type { Published } from './publisher.js';
export type { Run } from './runs/execution.js';
export type { ListRunsOptions } from './runs/run-calls.js';
export type { RunDefinition, RunType } from './runs/run-type.js';
export type { RunProgress, RunStatusName, RunView } from './runs/run-view.js';
export type { Runs } from './runs/runs.js';
export type { StartOptions } from './runs/start-run.js';
export type { Settings } from './runtime-settings.js';
export type { Schema } from './schema.js';
export type { ChangeSettingOptions } from './setting-changes.js';
export type { SettingOverride } from './setting-overrides.js';
export type { PastSettingView, SettingEvent, SettingView } from './setting-views.js';
export { connect, type Session, type Stafett } from './stafett.js';
export type { OnSlow, Subscription } from './subscription.js';
export type { WatchEvent } from './unlock-news.js';
export type { ContentionView, HoldEnd, HolderView, LockView, PastHolderView, WhoView } from './views.js';
export type { Worker, WorkerFunction } from './worker-slot.js';
