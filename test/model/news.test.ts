import { AssertionError } from 'node:assert';
import { beforeAll, describe, expect, test } from 'vitest';
import { EngineHarness } from '../support/engine-harness.js';
import { NEWS_SCENARIOS, NewsDesk } from './news-scenarios.js';
import { PLANTED_NEWS_BUGS, toPatch } from './planted-news-bugs.js';

// The engine's part of settings and events: what it promises, and that each promise would be missed.

let harness: EngineHarness;

beforeAll(async () => {
  harness = await EngineHarness.start();
});

describe('the engine', () => {
  test.each(Object.entries(NEWS_SCENARIOS))('%s', async (_, play) => {
    await harness.load([]);
    await play(await NewsDesk.open(harness));
  });
});

describe('a planted bug is found', () => {
  test.each(PLANTED_NEWS_BUGS)('%s', async (...bug) => {
    await harness.load([toPatch(bug)]);
    expect(await firstViolation()).toBeInstanceOf(AssertionError);
  });
});

async function firstViolation(): Promise<unknown> {
  for (const play of Object.values(NEWS_SCENARIOS)) {
    try {
      await play(await NewsDesk.open(harness));
    } catch (error) {
      return error;
    }
  }
  return undefined;
}
