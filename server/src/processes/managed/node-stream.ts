import type { NamespaceEngine } from '../../engine/namespace-engine.js';
import type { ConfigOffer, ProcessResults } from '../../engine/process-commands.js';
import type { JoinProcessRequest, JoinProcessResponse, SlotReport } from '../../gen/stafett/v1/process.js';
import { invalidField } from '../../rpc/errors.js';
import { sessionNotFound } from '../../sessions/refusals.js';
import { Latest } from '../latest.js';
import type { ManagedProcess, Observer } from './managed-process.js';
import type { ManagedProcesses, Node } from './managed-processes.js';
import { checkReports, type JoinPlan, planJoin } from './process-checks.js';
import { toAssignment, toConfig } from './process-views.js';
import { joinedElsewhere, tooManyNodes, tooManyProcesses } from './refusals.js';
import type { Snapshot } from './snapshot.js';

/** Nodes of one process. */
const NODES_MAX = 1_000;

export interface NodeStreamOptions {
  readonly engine: NamespaceEngine;
  readonly processes: ManagedProcesses;
  /** Which of the client's connections it is, or 0. */
  readonly generation: number;
  readonly maxWorkers: number;
  readonly maxProcesses: number;
}

/** One JoinProcess stream: a node of a process, for as long as it is connected to this server. */
export class NodeStream implements Observer, Node {
  readonly isNode = true;
  readonly #options: NodeStreamOptions;
  readonly #responses = new Latest<JoinProcessResponse>();
  #join: JoinPlan | undefined;
  #process: ManagedProcess | undefined;
  /** As which it counts with the others here. */
  #sid = '';
  #joined = false;
  #restarts = new Map<string, number>();
  #told = '';

  constructor(options: NodeStreamOptions) {
    this.#options = options;
  }

  async *run(requests: AsyncIterable<JoinProcessRequest>, signal: AbortSignal): AsyncIterable<JoinProcessResponse> {
    const { processes } = this.#options;
    const onAbort = () => this.#responses.end();
    signal.addEventListener('abort', onAbort);
    void this.#read(requests);
    try {
      yield* this.#responses.values();
    } finally {
      this.#responses.end();
      signal.removeEventListener('abort', onAbort);
      processes.removeNode(this.#sid, this);
      if (this.#process) processes.remove(this.#process, this);
    }
  }

  get joined(): boolean {
    return this.#joined;
  }

  onSnapshot(snapshot: Snapshot): void {
    if (!this.#join || !this.#joined || !snapshot.config) return;
    const { sid } = this.#join;
    if (!snapshot.nodes.some((node) => node[0] === sid)) return this.enter(); // which tells why not
    const response = { slots: toAssignment(snapshot, sid), config: toConfig(snapshot.config) };
    const facts = response.slots.map(({ slot, grant, drain }) => [slot, grant?.lockId, grant?.epoch, drain]);
    const told = JSON.stringify([snapshot.config[2], facts]);
    if (told === this.#told) return;
    this.#told = told;
    this.#responses.push(response);
  }

  async #read(requests: AsyncIterable<JoinProcessRequest>): Promise<void> {
    try {
      for await (const { message } of requests) {
        if (message?.$case === 'join') this.#onJoin(planJoin(message.value, this.#options.maxWorkers));
        else if (!this.#join) throw invalidField('message', 'the first one must be a join');
        else if (message?.$case === 'report') await this.#report(message.value.slots, this.#join);
        else if (message?.$case === 'leave') return await this.#leave(this.#join);
        else throw invalidField('message', 'is missing, or of a kind that this server does not know');
      }
      this.#responses.end();
    } catch (error) {
      this.#responses.end(error as Error);
    }
  }

  #onJoin(join: JoinPlan): void {
    if (this.#responses.ended) return;
    const before = this.#join;
    if (before && (before.name !== join.name || before.sid !== join.sid))
      throw invalidField('join', 'a stream is one node of one process: name and session_id must stay');
    this.#join = join;
    this.#process ??= this.#options.processes.open(join.name);
    this.enter();
    if (before) return;
    this.#sid = join.sid;
    this.#options.processes.addNode(join.sid, this);
    this.#process.add(this);
  }

  enter(): void {
    if (!this.#join || this.#responses.ended) return;
    this.#joined = false;
    const { engine, generation, maxProcesses, processes } = this.#options;
    const { name, sid, node, capacity, declared, known } = this.#join;
    const newest = newer(known, processes.memory.recall(name));
    engine.submit<'join'>(['join', name, sid, generation, node, capacity, declared, newest, [maxProcesses, NODES_MAX]], (error, result) => {
      if (error || !result) return this.#responses.end(error);
      if (this.#join) this.#onEntered(this.#join, result);
    });
  }

  #onEntered({ name, sid }: JoinPlan, [outcome]: ProcessResults['join']): void {
    switch (outcome) {
      case 'joined':
        this.#joined = true;
        this.#options.engine.expectExpiries();
        this.#process?.refresh();
        return;
      case 'unconfirmed':
        return; // entered again when its session has been asserted, or the time for that is over
      case 'moved':
        return this.#responses.end(joinedElsewhere(name));
      case 'gone':
        return this.#responses.end(sessionNotFound(sid));
      case 'too_many_nodes':
        return this.#responses.end(tooManyNodes(name, NODES_MAX));
      case 'too_many_processes':
        return this.#responses.end(tooManyProcesses());
    }
  }

  async #report(reports: SlotReport[], { name }: JoinPlan): Promise<void> {
    const { engine, processes, maxWorkers } = this.#options;
    checkReports(reports, maxWorkers);
    const known = this.#restarts;
    this.#restarts = new Map(known);
    for (const { lockId, restarts } of reports) {
      processes.metrics.restarted(Math.max(0, restarts - (known.get(lockId) ?? 0)));
      this.#restarts.set(lockId, restarts);
    }
    const args = reports.map(({ slot, lockId, state, restarts, lastError }) => [slot, lockId, state, restarts, lastError]);
    await engine.run<'report'>(['report', name, args as never]);
  }

  async #leave({ name, sid }: JoinPlan): Promise<void> {
    this.#join = undefined; // before all else: that the node is not there any more is no reason to enter again
    await this.#options.engine.run<'leave'>(['leave', name, sid]);
    this.#responses.end();
  }
}

function newer(one: ConfigOffer | false, other: ConfigOffer | false): ConfigOffer | false {
  if (!one || !other) return one || other;
  return one[2] >= other[2] ? one : other;
}
