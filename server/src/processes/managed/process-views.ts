import type { ConfigView, NodeView, ProcessView, SlotView } from '../../engine/process-commands.js';
import {
  type AssignedSlot,
  type ClusterState,
  PendingReason,
  type ProcessConfig,
  type ProcessNode,
  ProcessStatus,
  SlotState,
  type WorkerSlot,
} from '../../gen/stafett/v1/process.js';
import { toGrant } from '../../locks/lock-views.js';
import { toTimestamp } from '../../rpc/fields.js';
import { slotLockName } from './slot-names.js';
import { isDraining, type Snapshot, wantedWorkers } from './snapshot.js';

/** From what the engine shows of managed processes to what the API shows. */

export function toConfig([workers, running, revision, updated]: ConfigView): ProcessConfig {
  const status = running === 1 ? ProcessStatus.RUNNING : ProcessStatus.STOPPED;
  return { workers, status, revision: BigInt(revision), updateTime: toTimestamp(updated) };
}

export function toClusterState(snapshot: Snapshot): ClusterState {
  const { name, config, nodes } = snapshot;
  const slots = toSlots(snapshot);
  return {
    name,
    config: config && toConfig(config),
    nodes: nodes.map((node) => toNode(node, snapshot.slots)).toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1)),
    slots,
    nodeCount: nodes.length,
    assignedSlots: snapshot.slots.length,
    runningWorkers: snapshot.slots.filter(isRunning).length,
    pendingSlots: slots.filter(({ state }) => state === SlotState.PENDING).length,
  };
}

export function toSummary([name, config, nodes, slots, running, wanted]: ProcessView): ClusterState {
  return {
    name,
    config: toConfig(config),
    nodes: [],
    slots: [],
    nodeCount: nodes,
    assignedSlots: slots,
    runningWorkers: running,
    pendingSlots: wantedWorkers(config) - wanted,
  };
}

/** What the session has. */
export function toAssignment({ name, slots, epoch }: Snapshot, sid: string): AssignedSlot[] {
  return slots
    .filter((slot) => slot[1] === sid)
    .map((view) => {
      const [slot, , lockId, token, since, until] = view;
      const grant = toGrant({ lockId, names: [slotLockName(name, slot)], result: ['granted', token, since, until, 0], epoch });
      return { slot, grant, drain: isDraining(view) };
    });
}

function isRunning(slot: SlotView): boolean {
  return !isDraining(slot) && slot[7] === SlotState.RUNNING;
}

function toNode([sessionId, node, capacity, since, heartbeat, owner]: NodeView, slots: readonly SlotView[]): ProcessNode {
  const [name = '', version = '', host = ''] = JSON.parse(owner) as string[];
  const own = slots.filter((slot) => slot[1] === sessionId);
  return {
    sessionId,
    node: node || host,
    client: { name, version, host },
    capacity,
    activeWorkers: own.filter(isRunning).length,
    slots: own.map(([slot]) => slot).toSorted((a, b) => a - b),
    joinTime: toTimestamp(since),
    heartbeatTime: toTimestamp(heartbeat),
  };
}

function toSlots(snapshot: Snapshot): WorkerSlot[] {
  const wanted = wantedWorkers(snapshot.config);
  const taken = new Map(snapshot.slots.map((slot) => [slot[0], slot]));
  const numbers = new Set([...Array(wanted).keys(), ...taken.keys()]);
  return [...numbers]
    .toSorted((a, b) => a - b)
    .map((slot) => {
      const view = taken.get(slot);
      return view ? toTakenSlot(view, snapshot.nodes) : toPendingSlot(slot, snapshot);
    });
}

function toTakenSlot(view: SlotView, nodes: readonly NodeView[]): WorkerSlot {
  const [slot, sessionId, , token, since, , , state, restarts, lastError, errorTime] = view;
  const node = nodes.find(([sid]) => sid === sessionId);
  return {
    slot,
    state: isDraining(view) && state !== SlotState.OVERDUE ? SlotState.DRAINING : state,
    pendingReason: PendingReason.UNSPECIFIED,
    sessionId,
    node: node ? node[1] || ((JSON.parse(node[5]) as string[])[2] ?? '') : '',
    fencingToken: BigInt(token),
    acquireTime: toTimestamp(since),
    restarts,
    lastError,
    lastErrorTime: errorTime > 0 ? toTimestamp(errorTime) : undefined,
  };
}

function toPendingSlot(slot: number, snapshot: Snapshot): WorkerSlot {
  return {
    slot,
    state: SlotState.PENDING,
    pendingReason: whyPending(snapshot),
    sessionId: '',
    node: '',
    fencingToken: 0n,
    acquireTime: undefined,
    restarts: 0,
    lastError: '',
    lastErrorTime: undefined,
  };
}

function whyPending({ config, nodes, slots, now, graceUntil }: Snapshot): PendingReason {
  const capacity = nodes.reduce((sum, node) => sum + node[2], 0);
  if (graceUntil > now) return PendingReason.GRACE_PERIOD;
  if (nodes.length === 0) return PendingReason.NO_NODES;
  if (capacity < wantedWorkers(config)) return PendingReason.NO_CAPACITY;
  return slots.some(isDraining) ? PendingReason.DRAINING : PendingReason.SOON;
}
