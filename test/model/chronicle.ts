import type { Observed } from '../support/engine-harness.js';
import { LockModel } from '../support/lock-model.js';
import { Choices } from './choices.js';
import { type Call, Replay } from './replay.js';
import { expectedResult } from './rules.js';
import { compare, show, Violation } from './violation.js';

/** Paths of choices that are tried when a call does not fit, at the most. Most calls leave no choice, or fit at once. */
const PATHS_MAX = 2_000;

interface Entry {
  readonly call: Call;
  readonly observed: Observed;
  before: LockModel;
  choices: Choices;
}

/**
 * All calls so far and the model that explains them. What the engine chose where it was free to choose may show only
 * later: then the latest call that leaves another choice is explained anew, and all after it.
 */
export class Chronicle {
  model = new LockModel();
  readonly #entries: Entry[] = [];

  /** @throws {Violation} when nothing that the model permits explains what was observed. */
  add(call: Call, observed: Observed): void {
    const entries = this.#entries;
    entries.push({ call, observed, before: this.model, choices: new Choices() });
    let violation: Violation | undefined;
    let at = entries.length - 1;
    for (let paths = 1; paths <= PATHS_MAX; paths++) {
      try {
        for (; at < entries.length; at++) this.#explain(at);
        return;
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        violation ??= error;
      }
      for (; at >= 0; at--) {
        const entry = entries[at] as Entry;
        if (entry.choices.next()) break;
        entry.choices = new Choices();
      }
      if (at < 0) throw violation;
    }
    throw new Violation(`${violation?.message} (and so on, on each of ${PATHS_MAX} paths)`);
  }

  #explain(at: number): void {
    const { before, call, observed, choices } = this.#entries[at] as Entry;
    const model = before.clone();
    carryOut(new Replay(model, call, observed, choices));
    const next = this.#entries[at + 1];
    if (next) next.before = model;
    else this.model = model;
  }
}

function carryOut(replay: Replay): void {
  const { call, observed } = replay;
  replay.begin();
  for (const [i, command] of call.commands.entries()) {
    const expected = expectedResult(replay, command, observed.results[i]);
    compare(`${show(command)} has the result`, expected, observed.results[i]);
    replay.settle();
  }
  replay.finishCall();
}
