import {
  type ProcessConfig as ProtoConfig,
  PendingReason as ProtoPendingReason,
  SlotState as ProtoSlotState,
  type ClusterState as ProtoState,
  ProcessStatus as ProtoStatus,
} from './gen/stafett/v1/process.js';
import { toDate } from './views.js';

export type ProcessStatus = 'running' | 'stopped';
/**
 * `PENDING`: no node has it. `GRANTED`: a node has it and is about to start its worker. `RUNNING`. `RESTARTING`: the worker has
 * returned or failed, and is started again after a pause. `DRAINING`: it was told to stop. `OVERDUE`: it has not stopped within its
 * drain timeout, and keeps the slot.
 */
export type SlotState = 'PENDING' | 'GRANTED' | 'RUNNING' | 'RESTARTING' | 'DRAINING' | 'OVERDUE';
/** Why a slot is PENDING. `SOON`: a server is about to assign it. `DRAINING`: workers that are no longer wanted have not stopped yet. */
export type PendingReason = 'SOON' | 'NO_NODES' | 'NO_CAPACITY' | 'DRAINING' | 'GRACE_PERIOD';

/** What a managed process is to be. */
export interface ProcessConfig {
  /** How many workers there are to be in the cluster. */
  readonly workers: number;
  readonly status: ProcessStatus;
  /** Counts the versions of the config, from 1 on. */
  readonly revision: bigint;
  /** When it was last changed, by the clock of Redis. */
  readonly updateTime: Date;
}

/** A node of a managed process. Times by the clock of Redis. */
export interface ProcessNodeView {
  readonly sessionId: string;
  /** What it calls itself. */
  readonly node: string;
  /** The client, `name/version`. */
  readonly client: string;
  readonly host: string;
  /** How many workers it may run. */
  readonly capacity: number;
  /** How many run. */
  readonly activeWorkers: number;
  readonly slots: readonly number[];
  readonly joinTime: Date;
  /** When its session was last kept alive. */
  readonly heartbeatTime: Date;
}

/** A slot of a managed process. Times by the clock of Redis. */
export interface WorkerSlotView {
  readonly slot: number;
  readonly state: SlotState;
  /** Of a PENDING slot. */
  readonly pendingReason: PendingReason | undefined;
  /** Who has it; empty if nobody has. */
  readonly sessionId: string;
  readonly node: string;
  readonly fencingToken: bigint;
  readonly acquireTime: Date | undefined;
  /** How often its worker was started again on that node. */
  readonly restarts: number;
  /** Why it failed last, on that node. */
  readonly lastError: string | undefined;
  readonly lastErrorTime: Date | undefined;
}

/** A managed process as it is. */
export interface ClusterState {
  readonly name: string;
  /** Undefined: nobody has declared it; only from `watch`. */
  readonly config: ProcessConfig | undefined;
  /** Not from `list`. */
  readonly nodes: readonly ProcessNodeView[];
  /** Those that are wanted, and those above that have not stopped yet. Not from `list`. */
  readonly slots: readonly WorkerSlotView[];
  readonly nodeCount: number;
  /** Slots in somebody's hands. */
  readonly assignedSlots: number;
  readonly runningWorkers: number;
  /** Wanted slots that no node has. */
  readonly pendingSlots: number;
}

export function toConfigView({ workers, status, revision, updateTime }: ProtoConfig): ProcessConfig {
  return { workers, status: status === ProtoStatus.STOPPED ? 'stopped' : 'running', revision, updateTime: toDate(updateTime) };
}

export function toProtoStatus(status: ProcessStatus): ProtoStatus {
  return status === 'stopped' ? ProtoStatus.STOPPED : ProtoStatus.RUNNING;
}

export function toClusterView({
  name,
  config,
  nodes,
  slots,
  nodeCount,
  assignedSlots,
  runningWorkers,
  pendingSlots,
}: ProtoState): ClusterState {
  return {
    name,
    config: config && toConfigView(config),
    nodes: nodes.map(({ sessionId, node, client, capacity, activeWorkers, slots: own, joinTime, heartbeatTime }) => ({
      sessionId,
      node,
      client: [client?.name, client?.version].filter(Boolean).join('/'),
      host: client?.host ?? '',
      capacity,
      activeWorkers,
      slots: own,
      joinTime: toDate(joinTime),
      heartbeatTime: toDate(heartbeatTime),
    })),
    slots: slots.map(({ slot, state, pendingReason, sessionId, node, fencingToken, acquireTime, restarts, lastError, lastErrorTime }) => ({
      slot,
      state: ProtoSlotState[state] as SlotState,
      pendingReason: pendingReason === ProtoPendingReason.UNSPECIFIED ? undefined : (ProtoPendingReason[pendingReason] as PendingReason),
      sessionId,
      node,
      fencingToken,
      acquireTime: acquireTime && toDate(acquireTime),
      restarts,
      lastError: lastError === '' ? undefined : lastError,
      lastErrorTime: lastErrorTime && toDate(lastErrorTime),
    })),
    nodeCount,
    assignedSlots,
    runningWorkers,
    pendingSlots,
  };
}
