import { RunStatus } from '../../server/src/gen/stafett/v1/run.js';

/** What the engine should do with runs, as simply as it can be said: a second opinion for the model test. */

export type RunOp =
  | { readonly op: 'open' | 'keep' | 'close'; readonly sid: string }
  | { readonly op: 'advance'; readonly ms: number }
  | {
      readonly op: 'start';
      readonly ref: string;
      readonly sid: string;
      readonly restart: boolean;
      readonly request: string;
      readonly retries: number;
      readonly waitMs: number;
    }
  | { readonly op: 'report'; readonly sid: string; readonly ref: string; readonly stale: boolean; readonly what: ReportKind }
  | { readonly op: 'cancel'; readonly ref: string; readonly stale: boolean }
  | { readonly op: 'serve'; readonly sid: string; readonly offers: readonly (readonly [type: string, concurrency: number])[] }
  | { readonly op: 'unserve'; readonly sid: string };

export type ReportKind = 'progress' | 'succeeded' | 'failed' | 'cancelled';

interface ModelRun {
  readonly ref: string;
  readonly number: number;
  status: RunStatus;
  sid: string;
  percent: number;
  cancel: boolean;
  readonly attempt: number;
  readonly retries: number;
  readonly request: string;
  readonly waitMs: number;
  giveUpAt: number;
  forgetAt: number;
}

interface ModelSession {
  deadline: number;
  offers: Map<string, number>;
  lastAt: number;
}

export const TTL_MS = 1_000;
export const RESULT_TTL_MS = 3_000;
export const DEFAULT_WAIT_MS = 300_000;
export const PERCENT = 40;

const { PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, LOST } = RunStatus;
const ENDS = { succeeded: SUCCEEDED, failed: FAILED, cancelled: CANCELLED } as const;

export class RunModel {
  now = 0;
  readonly runs = new Map<string, ModelRun>();
  readonly #sessions = new Map<string, ModelSession>();
  #waiting: ModelRun[] = [];
  /** Runs so far, which numbers them. */
  #count = 0;

  /** The outcome, as the test reads it off the engine's result. */
  apply(op: RunOp): string {
    if (op.op === 'advance') {
      this.now += op.ms;
      return 'advanced';
    }
    this.#expire();
    switch (op.op) {
      case 'open':
        return this.#open(op.sid);
      case 'keep':
        return this.#keep(op.sid);
      case 'close':
        this.#end(op.sid);
        return 'closed';
      case 'start':
        return this.#start(op);
      case 'report':
        return this.#report(op);
      case 'cancel':
        return this.#cancel(op);
      case 'serve':
        return this.#serve(op);
      case 'unserve':
        return this.#unserve(op.sid);
    }
  }

  /** What a look at everything shows; runs that have waited too long are given up by the look. */
  state(): string[] {
    this.#expire();
    this.#giveUp();
    for (const run of [...this.runs.values()]) this.find(run.ref);
    return [...this.runs.values()].map(show).sort();
  }

  find(ref: string): ModelRun | undefined {
    const run = this.runs.get(ref);
    if (run && isOver(run) && run.forgetAt <= this.now) this.runs.delete(ref);
    return this.runs.get(ref);
  }

  #open(sid: string): string {
    const session = this.#sessions.get(sid) ?? { deadline: 0, offers: new Map(), lastAt: 0 };
    session.deadline = this.now + TTL_MS;
    this.#sessions.set(sid, session);
    return 'opened';
  }

  #keep(sid: string): string {
    const session = this.#sessions.get(sid);
    if (!session) return 'gone';
    session.deadline = this.now + TTL_MS;
    return 'alive';
  }

  #start({ ref, sid, restart, request, retries, waitMs }: Extract<RunOp, { op: 'start' }>): string {
    const known = this.find(ref);
    const same = known?.request === request;
    if (known && (same || !restart || !isOver(known))) return `${show(known)} started ${same && (sid === '' || sid === known.sid)}`;
    if (!restart) return 'none';
    if (sid !== '' && !this.#sessions.has(sid)) return 'gone';
    if (sid === '' && waitMs === 0 && !this.#servers(typeOf(ref)).length) return 'no_runner';
    this.#begin({ ref, sid, attempt: 1, retries, request, waitMs: waitMs || DEFAULT_WAIT_MS });
    return `${show(this.runs.get(ref) as ModelRun)} started true`;
  }

  #begin(facts: Pick<ModelRun, 'ref' | 'sid' | 'attempt' | 'retries' | 'request' | 'waitMs'>): void {
    this.#count++;
    const status = facts.sid === '' ? PENDING : RUNNING;
    const giveUpAt = this.now + facts.waitMs;
    const run = { ...facts, number: this.#count, status, percent: 0, cancel: false, giveUpAt, forgetAt: 0 };
    this.runs.set(run.ref, run);
    if (status === RUNNING) return;
    this.#waiting.push(run);
    this.#assign(typeOf(run.ref));
  }

  #report({ sid, ref, stale, what }: Extract<RunOp, { op: 'report' }>): string {
    const run = this.find(ref);
    if (!run || stale || run.sid !== sid) return 'stale';
    if (what !== 'progress' && run.status === ENDS[what]) return 'reported false';
    if (isOver(run)) return 'stale';
    const { cancel } = run;
    if (what === 'progress') {
      run.percent = PERCENT;
      return `reported ${cancel}`;
    }
    this.#finish(run, ENDS[what]);
    return 'reported false';
  }

  #cancel({ ref, stale }: Extract<RunOp, { op: 'cancel' }>): string {
    const run = this.find(ref);
    if (!run) return 'none';
    if (isOver(run) || stale || run.cancel) return show(run);
    run.cancel = true;
    if (run.status === PENDING) this.#finish(run, CANCELLED);
    return show(run);
  }

  #serve({ sid, offers }: Extract<RunOp, { op: 'serve' }>): string {
    const session = this.#sessions.get(sid);
    if (!session) return 'gone';
    session.offers = new Map(offers);
    for (const [type] of offers) this.#assign(type);
    return `held ${this.#held(sid).map(show).sort()}`;
  }

  #unserve(sid: string): string {
    const session = this.#sessions.get(sid);
    session?.offers.clear();
    if (session) session.lastAt = 0;
    return 'unserved';
  }

  #held(sid: string): ModelRun[] {
    return [...this.runs.values()].filter((run) => run.sid === sid && run.status === RUNNING);
  }

  #servers(type: string): [string, ModelSession][] {
    return [...this.#sessions].filter(([, { offers, deadline }]) => offers.has(type) && deadline > this.now);
  }

  #assign(type: string): void {
    while (true) {
      const run = this.#waiting.find(({ ref }) => typeOf(ref) === type);
      const room = (sid: string) => this.#held(sid).filter(({ ref }) => typeOf(ref) === type).length;
      const free = this.#servers(type).filter(([sid, { offers }]) => room(sid) < (offers.get(type) ?? 0));
      const load = ([sid]: [string, ModelSession]) => this.#held(sid).length;
      const order = (a: [string, ModelSession], b: [string, ModelSession]) =>
        load(a) - load(b) || a[1].lastAt - b[1].lastAt || (a[0] < b[0] ? -1 : 1);
      const [best] = free.sort(order);
      if (!run || !best) return;
      this.#waiting = this.#waiting.filter((each) => each !== run);
      best[1].lastAt = this.now;
      run.status = RUNNING;
      run.sid = best[0];
    }
  }

  #finish(run: ModelRun, status: RunStatus): void {
    const wasRunning = run.status === RUNNING;
    this.#waiting = this.#waiting.filter((each) => each !== run);
    run.status = status;
    run.forgetAt = this.now + RESULT_TTL_MS;
    if (wasRunning) this.#assign(typeOf(run.ref));
  }

  #expire(): void {
    const due = [...this.#sessions].filter(([, { deadline }]) => deadline <= this.now);
    for (const [sid] of due.sort((a, b) => a[1].deadline - b[1].deadline || (a[0] < b[0] ? -1 : 1))) this.#end(sid);
  }

  #end(sid: string): void {
    const lost = this.#held(sid);
    this.#sessions.get(sid)?.offers.clear();
    if (this.#sessions.has(sid)) for (const run of lost.sort((a, b) => (a.ref < b.ref ? -1 : 1))) this.#lose(run);
    this.#sessions.delete(sid);
  }

  #lose(run: ModelRun): void {
    const { ref, attempt, retries, waitMs, cancel } = run;
    this.#finish(run, LOST);
    if (retries > 0 && !cancel) this.#begin({ ref, sid: '', attempt: attempt + 1, retries: retries - 1, request: '', waitMs });
  }

  #giveUp(): void {
    for (const run of this.#waiting.filter(({ giveUpAt }) => giveUpAt <= this.now)) this.#finish(run, FAILED);
  }
}

function typeOf(ref: string): string {
  return ref.slice(0, ref.indexOf('/'));
}

function isOver({ status }: ModelRun): boolean {
  return status > RUNNING;
}

function show({ ref, number, status, sid, percent, cancel, attempt, retries }: ModelRun): string {
  return `${ref} #${number} ${RunStatus[status]} by '${sid}' ${percent}% cancel ${cancel} attempt ${attempt} left ${retries}`;
}
