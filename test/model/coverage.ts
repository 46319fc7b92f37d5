import type { Command, EngineEvent } from '../../server/src/engine/commands.js';
import type { Observed } from '../support/engine-harness.js';
import type { ModelVerb } from './rules.js';

/** Every outcome that a command can have, and every event. */
const OUTCOMES: Record<ModelVerb, readonly string[]> = {
  open: ['opened', 'too_many_sessions'],
  keep: ['alive', 'gone'],
  close: ['closed'],
  session: ['session', 'gone'],
  sessions: ['sessions'],
  acquire: ['granted', 'queued', 'contended', 'gone', 'reused', 'not_held', 'too_many_locks', 'too_many_waiters', 'deadlock'],
  timeout: ['granted', 'contended', 'none'],
  cancel: ['left', 'released', 'none', 'moved'],
  release: ['released', 'not_held'],
  extend: ['granted', 'not_held'],
  force: ['forced', 'free', 'not_held'],
  watch: ['watched'],
  unwatch: ['unwatched'],
  inspect: [], // comes with every call
  list: ['locks'],
  drain: ['drained'],
  sweep: ['swept'],
};
const EVENTS: readonly EngineEvent[0][] = ['granted', 'dropped', 'revoked', 'unlocked'];
const MORE = 'more to give back than one call may';

/** What random histories have met, so that nobody takes one that never came for one that works. */
export class Coverage {
  readonly #met = new Set<string>();

  readonly note = (commands: readonly Command[], { results, events, foreign, more }: Observed): void => {
    for (const [i, [verb]] of commands.entries()) this.#met.add(`${verb}: ${(results[i] as [string])[0]}`);
    for (const [event] of events) this.#met.add(`told at home: ${event}`);
    for (const [event] of [...foreign.values()].flat()) this.#met.add(`told abroad: ${event}`);
    if (more) this.#met.add(MORE);
  };

  missing(): string[] {
    const outcomes = Object.entries(OUTCOMES).flatMap(([verb, each]) => each.map((outcome) => `${verb}: ${outcome}`));
    const events = EVENTS.flatMap((event) => [`told at home: ${event}`, `told abroad: ${event}`]);
    return [...outcomes, ...events, MORE].filter((each) => !this.#met.has(each));
  }
}
