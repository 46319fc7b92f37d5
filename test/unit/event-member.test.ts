import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { EntryView } from '../../server/src/engine/commands.js';
import type { NamespaceEngine } from '../../server/src/engine/namespace-engine.js';
import type { Feed } from '../../server/src/events/feed.js';
import { Member } from '../../server/src/events/member.js';
import type { Position, Publication } from '../../server/src/events/publication.js';
import { eventually } from '../support/eventually.js';

// A subscriber that reads what it missed, more slowly than others publish: between the history and what happens there is no gap.

const EPOCH = 'e';

/** A channel whose publications are its offsets, and a subscriber who reads when it is let. */
class World {
  readonly kept: number[] = [];
  /** Offsets, and what is told besides: `recovered` or not, and from where. */
  readonly told: (number | string)[] = [];
  readonly member: Member;
  #last = 0;
  #reads = () => {};
  #mayRead = Promise.resolve();

  constructor() {
    const at = () => this.#last;
    const feed = {
      name: 'a',
      keeps: true,
      listeners: new Set(),
      open: async () => {},
      get position(): Position {
        return { epoch: EPOCH, offset: at() };
      },
    };
    const engine = { run: async ([, , from]: [string, string, number]) => this.#replay(from) };
    const sink = {
      onSubscribed: (_: string, { offset }: Position, recovered: boolean) =>
        this.told.push(`${recovered ? 'goes on' : 'begins'} at ${offset}`),
      onPublication: (_: string, { offset }: Publication) => this.told.push(offset),
      onPresence: () => {},
      room: () => this.#mayRead,
    };
    this.member = new Member(feed as unknown as Feed, engine as unknown as NamespaceEngine, sink);
  }

  /** Does not read until it is let. */
  hold(): void {
    this.#mayRead = new Promise((resolve) => {
      this.#reads = resolve;
    });
  }

  read(): void {
    this.#reads();
    this.#mayRead = Promise.resolve();
  }

  publish(count: number): void {
    for (let i = 0; i < count; i++) {
      const offset = this.keep();
      this.member.onPublication({ channel: 'a', epoch: EPOCH, offset, before: [offset - 1], time: 1, key: '', data: '1' });
    }
  }

  /** One that pub/sub loses. */
  keep(): number {
    this.kept.push(++this.#last);
    return this.#last;
  }

  /** As the engine's `replay`, in pages of 200. */
  #replay(from: number) {
    const page = this.kept.filter((offset) => offset > from).slice(0, 200);
    const entries = page.map((offset): EntryView => ['a', offset, [offset - 1], 1, '', '1']);
    const last = page.at(-1) ?? from;
    return ['replayed', EPOCH, entries, last, page.length === 200 ? 1 : 0, this.#last, this.#last, 10_000, 1_000];
  }
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function fail(error: Error): void {
  throw error;
}

describe('a subscriber that comes back', () => {
  test.each([0, 1, 500, 3_000])('has what is published while it reads the history once, in order: %i', async (count) => {
    const world = new World();
    world.publish(10);
    world.hold();
    await world.member.join({ epoch: EPOCH, offset: 2 }, fail);
    world.publish(count);
    await nextTurn();
    expect(world.told).toEqual(['goes on at 2', 3]); // and no more until there is room
    world.read();
    await eventually('all', () => world.told.length === 1 + 8 + count);
    world.publish(3);
    expect(world.told).toEqual(['goes on at 2', ...numbers(3, 13 + count)]);
  });

  test('is told of what was lost and is not kept, between the history and what happens', async () => {
    const world = new World();
    world.publish(10);
    world.hold();
    await world.member.join({ epoch: EPOCH, offset: 2 }, fail);
    world.publish(5);
    for (let i = 0; i < 5; i++) world.keep();
    world.member.onBroken({ epoch: EPOCH, offset: 20 }); // the feed has found that they are gone
    world.publish(5);
    world.kept.splice(world.kept.indexOf(16), 5);
    world.read();
    await eventually('the last', () => world.told.includes(25));
    expect(world.told).toEqual(['goes on at 2', ...numbers(3, 15), 'begins at 20', ...numbers(21, 25)]);
  });

  test('that is live is told of a gap at once, and has nothing twice', async () => {
    const world = new World();
    await world.member.join(undefined, fail);
    world.publish(2);
    world.member.onBroken({ epoch: EPOCH, offset: 7 });
    world.member.onPublication({ channel: 'a', epoch: EPOCH, offset: 2, before: [1], time: 1, key: '', data: '1' });
    expect(world.told).toEqual(['begins at 0', 1, 2, 'begins at 7']);
  });
});
