import {
  type JoinProcessRequest,
  type JoinProcessResponse,
  type ProcessConfig,
  SlotState as ProtoSlotState,
  type SlotReport,
} from './gen/stafett/v1/process.js';
import type { Link } from './link.js';
import type { WorkerSlot } from './worker-slot.js';

/** Slots in one report; the servers' own limit. */
const REPORTS_MAX = 1_000;

/** What the node says of itself when it joins. */
export interface JoinFacts {
  readonly name: string;
  readonly sessionId: string;
  readonly node: string;
  readonly capacity: number;
  readonly declared: ProcessConfig;
  readonly known: ProcessConfig | undefined;
}

/** One JoinProcess stream over one link. What is to be said is put together when the stream takes it, so that nothing piles up. */
export class JoinStream {
  readonly #facts: () => JoinFacts;
  readonly #changed = new Set<WorkerSlot>();
  #mustJoin = true;
  #mustLeave = false;
  #ended = false;
  #wake: () => void = () => {};

  /** @param facts asked each time that the node joins. */
  constructor(facts: () => JoinFacts) {
    this.#facts = facts;
  }

  /** Joins again: the facts are others. */
  join(): void {
    this.#mustJoin = true;
    this.#wake();
  }

  report(slot: WorkerSlot): void {
    this.#changed.add(slot);
    this.#wake();
  }

  /** The server ends the stream when it is done. */
  leave(): void {
    this.#mustLeave = true;
    this.#wake();
  }

  /** Ends when the server has let the node leave. @throws when the stream breaks, or the signal is aborted, as it is to be with the link. */
  async *converse(link: Link, signal: AbortSignal): AsyncGenerator<JoinProcessResponse> {
    try {
      yield* link.processes.joinProcess(this.#requests(), { signal });
    } finally {
      this.#ended = true;
      this.#wake();
    }
  }

  async *#requests(): AsyncGenerator<JoinProcessRequest> {
    while (!this.#ended) {
      if (this.#mustJoin) {
        this.#mustJoin = false;
        yield { message: { $case: 'join', value: this.#facts() } };
      } else if (this.#changed.size > 0) yield { message: { $case: 'report', value: { slots: this.#takeReports() } } };
      else if (this.#mustLeave) {
        yield { message: { $case: 'leave', value: {} } };
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #takeReports(): SlotReport[] {
    const slots = [...this.#changed].slice(0, REPORTS_MAX);
    for (const slot of slots) this.#changed.delete(slot);
    return slots
      .filter(({ state }) => state !== 'GRANTED')
      .map(({ slot, grant, state, restarts, lastError }) => ({
        slot,
        lockId: grant.lockId,
        state: ProtoSlotState[state],
        restarts,
        lastError,
      }));
  }
}
