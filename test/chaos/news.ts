import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Stafett, StafettError } from '../../clients/typescript/src/index.js';
import type { Rng } from '../support/rng.js';
import { type ChaosEvent, monotonicUs } from './events.js';

// What a client process of the chaos run does with events and settings: it publishes and sets numbers that grow, and reads those of all.

const CHANNEL = 'news/all';
const SUBSCRIPTIONS = [CHANNEL, 'news/*'];
/** More than a run publishes, so that only the loss of Redis' data is a reason for a gap. */
const HISTORY = { size: 10_000, age: '1h' };
const PREFIX = 'chaos/';
const PAUSE_MS = [100, 600] as const;

export interface News {
  readonly stafett: Stafett;
  readonly name: string;
  readonly rng: Rng;
  tell(event: ChaosEvent): void;
}

/** Goes on until the process is ended. */
export function runNews(news: News): Promise<never> {
  const keys = new Set<string>();
  return Promise.race([
    repeat(news, 'publish', () => publish(news)),
    repeat(news, 'subscribe', () => subscribe(news)),
    repeat(news, 'set', () => set(news)),
    repeat(news, 'watch', () => watch(news, keys)),
  ]);
}

async function repeat({ name, rng, tell }: News, what: string, act: () => Promise<void>): Promise<never> {
  while (true) {
    try {
      await act();
    } catch (error) {
      const reason = error instanceof StafettError ? error.reason : String(error);
      tell({ kind: 'done', at: monotonicUs(), id: `${name}.${what}`, reason });
    }
    await sleep(rng.int(...PAUSE_MS));
  }
}

async function publish({ stafett, name, tell }: News): Promise<void> {
  const number = monotonicUs();
  const { position } = await stafett.events.publish(CHANNEL, { from: name, number }, { history: HISTORY });
  if (!position) throw new Error('the channel keeps no history');
  tell({ kind: 'published', at: monotonicUs(), number, ...position });
}

async function subscribe({ stafett, tell }: News): Promise<void> {
  for await (const event of stafett.events.subscribe(SUBSCRIPTIONS)) {
    const at = monotonicUs();
    if (event.type === 'subscribed') {
      const { channel: subscription, position, recovered } = event;
      tell({ kind: 'subscribed', at, subscription, ...position, recovered });
    } else if (event.type === 'publication') {
      const { subscription, data, position = { epoch: '', offset: 0 } } = event;
      tell({ kind: 'heard', at, subscription, ...(data as { from: string; number: number }), ...position });
    }
  }
}

async function set({ stafett, name, tell }: News): Promise<void> {
  const value = monotonicUs();
  await stafett.settings.set(`${PREFIX}${name}`, value);
  tell({ kind: 'set', at: monotonicUs(), value });
}

/** Reads all settings as they are told, and each one synchronously as well. */
async function watch({ stafett, tell }: News, keys: Set<string>): Promise<void> {
  const read = (by: 'watch' | 'define', key: string, value: number) =>
    tell({ kind: 'read', at: monotonicUs(), by, of: key.slice(PREFIX.length), value });
  const on = (key: string, value: unknown) => {
    read('watch', key, Number(value ?? 0));
    if (keys.has(key)) return;
    keys.add(key);
    const setting = stafett.settings.define(key, z.number(), 0);
    read('define', key, setting.value);
    setting.onChange((now) => read('define', key, now));
  };
  for await (const event of stafett.settings.watch(PREFIX)) {
    if (event.type !== 'snapshot') {
      on(event.setting.key, event.setting.value);
      continue;
    }
    const values = new Map(event.settings.map(({ key, value }) => [key, value]));
    for (const key of new Set([...keys, ...values.keys()])) on(key, values.get(key));
  }
}
