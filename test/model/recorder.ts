import type { Command } from '../../server/src/engine/commands.js';
import type { Observed } from '../support/engine-harness.js';
import type { HistoryEvent } from '../support/history-checker.js';

/** Writes down what contexts do (see `nesting.ts`), for the history checker. */
export class Recorder {
  readonly events: HistoryEvent[] = [];
  readonly #names = new Map<string, readonly string[]>();

  readonly note = (commands: readonly Command[], { now, results, events, foreign }: Observed): void => {
    for (const [i, command] of commands.entries()) this.#command(now, command, results[i] as [string, number]);
    for (const event of [...events, ...[...foreign.values()].flat()]) {
      if (event[0] === 'granted') this.#granted(event[1], event[2], event[3]);
    }
  };

  #command(at: number, command: Command, [outcome, token]: [string, number]): void {
    if (command[0] === 'release') this.events.push({ kind: 'ended', id: command[1], at, how: 'RELEASED' });
    if (command[0] === 'cancel' && outcome === 'left') this.events.push({ kind: 'left', id: command[1], at });
    if (command[0] !== 'acquire' || (outcome !== 'granted' && outcome !== 'queued')) return;
    const [, sid, rid, names, , , context] = command;
    const id = `${sid}.${rid}`;
    this.#names.set(id, names);
    this.events.push({ kind: 'requested', id, names, at, nested: context !== false });
    if (outcome === 'granted') this.#granted(id, token, at);
  }

  #granted(id: string, token: number, at: number): void {
    this.events.push({ kind: 'granted', id, names: this.#names.get(id) ?? [], token, at });
  }
}
