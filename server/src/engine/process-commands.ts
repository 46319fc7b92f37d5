/**
 * The border to the Lua state machine, as far as managed processes go. The verbs are described where they are carried out, in
 * `processes/scripts/process-commands.lua`. Times are Redis' clock, in ms.
 */

/** [workers, running, revision, updated, id of the last update, version] */
export type ConfigView = [number, 0 | 1, number, number, string, number];
/** [sid, node, capacity, since, heartbeat, owner of its session] */
export type NodeView = [string, string, number, number, number, string];
/** [slot, sid, lock id, token, since, until, drain, state (SlotState), restarts, error, error time] */
export type SlotView = [number, string, string, number, number, number, 0 | 1, number, number, string, number];
/** [name, config, nodes, slots, running, wanted slots that somebody has] */
export type ProcessView = [string, ConfigView, number, number, number, number];
/** [workers, running, revision] */
export type ConfigOffer = [number, 0 | 1, number];
/** [slot, lock id, state (SlotState), restarts, error] */
export type SlotReportArgs = [number, string, number, number, string];
/** [slot, sid, request id, owner] */
export type StartArgs = [number, string, string, string];

export type ProcessCommand =
  | JoinCommand
  | ['leave', process: string, sid: string]
  | ['place', process: string, version: number, starts: StartArgs[], drains: number[]]
  | ['report', process: string, reports: SlotReportArgs[]]
  | ['configure', process: string, workers: number, running: number, onlyRevision: number, updateId: string, known: ConfigOffer | false]
  | ['remember', known: [process: string, ...ConfigOffer][]]
  | ['forget', process: string]
  | ['process', process: string, observeMs: number]
  | ['unobserve', process: string]
  | ['processes', after: string, limit: number];

export type JoinCommand = [
  'join',
  process: string,
  sid: string,
  generation: number,
  node: string,
  capacity: number,
  declared: ConfigOffer,
  known: ConfigOffer | false,
  limits: [processes: number, nodes: number],
];

export type ProcessResult = ['process', ConfigView | false, NodeView[], SlotView[], now: number, graceUntil: number];

/** The result of each verb. */
export interface ProcessResults {
  join: ['joined'] | ['moved'] | ['gone'] | ['unconfirmed'] | ['too_many_processes'] | ['too_many_nodes'];
  leave: ['left'];
  place: ['placed'] | ['stale'];
  report: ['reported'];
  configure: ['configured', ConfigView] | ['none'] | ['mismatch', revision: number];
  remember: ['remembered'];
  forget: ['forgotten'] | ['none'] | ['in_use', nodes: number, slots: number];
  process: ProcessResult;
  unobserve: ['unobserved'];
  processes: ['processes', ProcessView[], last: string];
}
