/** The commands on runs, as `commands.ts` types the others. They are described in `processes/scripts/run-commands.lua`, a run in `runs.lua` beside it. */

/** What the engine keeps of a run. Times are Redis' clock, in ms; 0 if there is none. */
export interface RunRecord {
  /** RunStatus */
  readonly status: number;
  readonly run: number;
  readonly sid: string;
  /** Of its session. */
  readonly owner: string;
  readonly asked: number;
  readonly started: number;
  readonly stopped: number;
  readonly forget: number;
  readonly percent: number;
  readonly message: string;
  readonly err: string;
  readonly stack: string;
  readonly cancel: 0 | 1;
  readonly attempt: number;
  readonly retries: number;
  readonly ttl: number;
  readonly request: string;
  readonly rev: number;
  readonly next: number;
}

/** [ref, run, result as JSON text] */
export type RunView = [ref: string, run: RunRecord, result: string];
/** [ref, run, is it to be cancelled] */
export type HeldRun = [ref: string, run: number, cancel: 0 | 1];

export type ReportCommand =
  | ['report_run', sid: string, ref: string, run: number, what: 'progress', percent: number, message: string]
  | ['report_run', sid: string, ref: string, run: number, what: 'succeeded', result: string]
  | ['report_run', sid: string, ref: string, run: number, what: 'failed', message: string, stack: string]
  | ['report_run', sid: string, ref: string, run: number, what: 'cancelled'];

export type RunCommand =
  | [
      'start_run',
      ref: string,
      sid: string,
      restart: 0 | 1,
      requestId: string,
      input: string,
      resultTtlMs: number,
      retries: number,
      waitMs: number,
      generation: number,
    ]
  | ReportCommand
  | ['cancel_run', ref: string, run: number]
  | ['get_run', ref: string]
  | ['watch_run', ref: string, ms: number]
  | ['list_runs', type: string, after: string, limit: number, status: number]
  | ['serve_runs', sid: string, stream: string, offers: (string | number)[]]
  | ['unserve_runs', sid: string, stream: string]
  | ['held_runs', sid: string]
  | ['run_input', ref: string, run: number]
  | ClaimRunCommand;

export type ClaimRunCommand = [
  'claim_run',
  sid: string,
  ref: string,
  run: number,
  input: string,
  asked: number,
  started: number,
  percent: number,
  message: string,
  cancel: 0 | 1,
  attempt: number,
  retries: number,
  resultTtlMs: number,
  requestId: string,
];

type Found = ['run', RunView] | ['none'] | ['grace', leftMs: number];
type Held = ['held', HeldRun[]] | ['gone'] | ['unconfirmed'];

export interface RunResults {
  start_run:
    | ['run', RunView, started: 0 | 1]
    | ['none']
    | ['grace', leftMs: number]
    | ['moved']
    | ['gone']
    | ['unconfirmed']
    | ['no_runner']
    | ['too_many_runs'];
  report_run: ['reported', cancel: 0 | 1] | ['stale', RunView | false] | ['unconfirmed'];
  cancel_run: Found;
  get_run: Found;
  watch_run: Found;
  list_runs: ['runs', RunView[], last: string];
  serve_runs: Held;
  unserve_runs: ['unserved'];
  held_runs: Held;
  run_input: ['input', RunView, input: string] | ['none'];
  claim_run: ['claimed'] | ['conflict'] | ['gone'];
}

export interface RunEvents {
  run: [view: RunView];
  runner: [sid: string];
  run_ended: [ref: string, status: number, ms: number];
}
