import type { ConfigOffer } from '../../engine/process-commands.js';
import {
  type JoinAsNode,
  type ProcessConfig,
  ProcessStatus,
  type SlotReport,
  SlotState,
  type UpdateProcessRequest,
} from '../../gen/stafett/v1/process.js';
import { invalidField } from '../../rpc/errors.js';
import { checkLockId, checkName, checkText, isId } from '../../rpc/fields.js';
import { sessionNotFound } from '../../sessions/refusals.js';

/** Checks of the requests on managed processes. Each throws INVALID_FIELD and names the field. */

const PROCESS_NAME_BYTES_MAX = 128;
const CAPACITY_MAX = 1_000;
const REPORTS_MAX = 1_000;
const ERROR_BYTES_MAX = 1_024;
const REPORTED_STATES = new Set([SlotState.RUNNING, SlotState.RESTARTING, SlotState.DRAINING, SlotState.OVERDUE]);

export function checkProcessName(name: string, field = 'name'): void {
  checkName(field, name);
  checkText(field, name, PROCESS_NAME_BYTES_MAX);
}

/** A checked `join`. */
export interface JoinPlan {
  readonly name: string;
  readonly sid: string;
  readonly node: string;
  readonly capacity: number;
  readonly declared: ConfigOffer;
  readonly known: ConfigOffer | false;
}

/** @throws {StafettError} SESSION_NOT_FOUND too, for what cannot be a session. */
export function planJoin(join: JoinAsNode, maxWorkers: number): JoinPlan {
  checkProcessName(join.name, 'join.name');
  if (!isId(join.sessionId)) throw sessionNotFound(join.sessionId);
  checkText('join.node', join.node);
  const { capacity = CAPACITY_MAX } = join;
  if (capacity > CAPACITY_MAX) throw invalidField('join.capacity', `${capacity}; at most ${CAPACITY_MAX} is allowed`);
  if (!join.declared) throw invalidField('join.declared', 'is missing');
  const declared = toOffer('join.declared', { ...join.declared, revision: 0n }, maxWorkers);
  const known = join.known ? toOffer('join.known', join.known, maxWorkers) : false;
  return { name: join.name, sid: join.sessionId, node: join.node, capacity, declared, known };
}

function toOffer(field: string, config: ProcessConfig, maxWorkers: number): ConfigOffer {
  checkWorkers(`${field}.workers`, config.workers, maxWorkers);
  const running = toRunning(`${field}.status`, config.status);
  return [config.workers, running, toRevision(`${field}.revision`, config.revision)];
}

function checkWorkers(field: string, workers: number, maxWorkers: number): void {
  if (workers > maxWorkers) throw invalidField(field, `${workers}; at most ${maxWorkers} are allowed`);
}

function toRunning(field: string, status: ProcessStatus): 0 | 1 {
  if (status === ProcessStatus.STOPPED) return 0;
  if (status === ProcessStatus.RUNNING || status === ProcessStatus.UNSPECIFIED) return 1;
  throw invalidField(field, 'is none of the known ones');
}

function toRevision(field: string, revision: bigint): number {
  if (revision > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidField(field, 'is no revision: it is too high');
  return Number(revision);
}

/** What an update changes; -1 for what stays. */
export interface UpdatePlan {
  readonly workers: number;
  readonly running: number;
  readonly onlyRevision: number;
}

export function planUpdate(request: UpdateProcessRequest, maxWorkers: number): UpdatePlan {
  const { name, config, updateMask = ['workers', 'status'], revision } = request;
  checkProcessName(name);
  if (!config) throw invalidField('config', 'is missing');
  if (updateMask.length === 0) throw invalidField('update_mask', 'names no field');
  const strange = updateMask.find((path) => path !== 'workers' && path !== 'status');
  if (strange !== undefined) throw invalidField('update_mask', `${JSON.stringify(strange)} cannot be changed; only workers and status can`);
  const [changesWorkers, changesStatus] = [updateMask.includes('workers'), updateMask.includes('status')];
  if (changesWorkers) checkWorkers('config.workers', config.workers, maxWorkers);
  if (changesStatus && config.status === ProcessStatus.UNSPECIFIED)
    throw invalidField('config.status', 'is missing; or leave it out of update_mask');
  return {
    workers: changesWorkers ? config.workers : -1,
    running: changesStatus ? toRunning('config.status', config.status) : -1,
    onlyRevision: toRevision('revision', revision),
  };
}

export function checkReports(reports: readonly SlotReport[], maxWorkers: number): void {
  if (reports.length > REPORTS_MAX) throw invalidField('report.slots', `${reports.length} slots; at most ${REPORTS_MAX} are allowed`);
  for (const { slot, lockId, state, lastError } of reports) {
    if (slot >= maxWorkers) throw invalidField('report.slots.slot', `${slot}; there is no slot above ${maxWorkers - 1}`);
    checkLockId('report.slots.lock_id', lockId);
    if (!REPORTED_STATES.has(state)) throw invalidField('report.slots.state', 'must be RUNNING, RESTARTING, DRAINING or OVERDUE');
    checkText('report.slots.last_error', lastError, ERROR_BYTES_MAX);
  }
}
