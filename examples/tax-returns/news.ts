import { on } from 'node:events';
import { connect } from '@stafett/client';
import { Children } from './children.js';
import type { NewsNodeMessage, NewsNodeOptions } from './news-node.js';
import { milliseconds, percentile } from './report.js';

export const CHANNEL = 'case/42';
export const TOGGLE = 'feature/new-letter';
/** Of each kind. */
const NEWS = 20;
const TIMEOUT_MS = 60_000;

export interface NewsOptions {
  /** The news are told to the first of the servers, and seen at the last. */
  readonly address: string;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/** What one process publishes and sets, another one sees. @throws {Error} if it does not. */
export async function news({ address, namespace, signal }: NewsOptions): Promise<void> {
  const [here, there] = [address.split(',').at(0) as string, address.split(',').at(-1) as string];
  await using stafett = await connect(here, { client: 'tax-returns', host: 'node-1', namespace, signal });
  await using children = new Children();
  const sights = new Sights(children, { name: 'node-2', address: there, namespace }, signal);
  await sights.next('ready');
  console.log(`   node-1 is connected to ${here}, node-2 to ${there}`);

  const events = await sights.of(
    (i) => `${CHANNEL} {"page":${i}}`,
    (i) => stafett.events.publish(CHANNEL, { page: i }),
  );
  console.log(`   node-1 publishes ${NEWS} events             node-2 saw each once, after ${delays(events)}`);
  const changes = await sights.of(
    (i) => `${TOGGLE} ${i % 2 === 1}`,
    (i) => stafett.settings.set(TOGGLE, i % 2 === 1),
  );
  console.log(`   node-1 flips a feature ${NEWS} times        node-2 saw each once, after ${delays(changes)}`);
  await stafett.settings.delete(TOGGLE);
}

/** What the other process sees. */
class Sights {
  readonly #messages: AsyncIterator<[NewsNodeMessage]>;

  constructor(children: Children, options: NewsNodeOptions, signal: AbortSignal) {
    const node = children.start('news-node.ts', options);
    const giveUp = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    this.#messages = on(node, 'message', { signal: giveUp, close: ['exit'] }) as AsyncIterator<[NewsNodeMessage]>;
  }

  /** Does something, waits until it is seen, and again. @returns how long each took to be seen, ms, sorted. */
  async of(what: (i: number) => string, act: (i: number) => Promise<unknown>): Promise<number[]> {
    const tookMs: number[] = [];
    for (let i = 1; i <= NEWS; i++) {
      const since = Number(process.hrtime.bigint()) / 1e6;
      const [at] = await Promise.all([this.next(what(i)), act(i)]);
      tookMs.push(at - since);
    }
    return tookMs.sort((a, b) => a - b);
  }

  /** It must be what is seen next. @returns when it was seen, ms. */
  async next(what: string): Promise<number> {
    const { value, done } = await this.#messages.next().catch((cause: unknown) => {
      throw new Error(`node-2 has not seen "${what}"`, { cause });
    });
    if (done) throw new Error(`node-2 ended before it saw "${what}"`);
    const [seen] = value;
    if (seen.what !== what) throw new Error(`node-2 saw "${seen.what}" and not "${what}"`);
    return seen.at;
  }
}

function delays(sorted: readonly number[]): string {
  return `${milliseconds(percentile(sorted, 0.5))} (p50), at most ${milliseconds(sorted.at(-1) as number)}`;
}
