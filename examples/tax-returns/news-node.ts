import { connect } from '@stafett/client';
import { CHANNEL, TOGGLE } from './news.js';

/** Another process: tells the coordinator which events and which changes of the feature toggle it sees. */

export interface NewsNodeOptions {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
}

export interface NewsNodeMessage {
  /** `ready`, or what it saw. */
  readonly what: string;
  /** By the machine's monotonic clock, which is the same for all processes, ms. */
  readonly at: number;
}

/** As zod's `z.boolean()`, which would do here. */
const BOOLEAN = {
  safeParse(value: unknown) {
    if (typeof value === 'boolean') return { success: true, data: value } as const;
    return { success: false, error: new TypeError('must be true or false') } as const;
  },
};

const { name, address, namespace }: NewsNodeOptions = JSON.parse(process.argv[2] as string);
const leaving = new AbortController();
process.on('disconnect', () => leaving.abort()); // the coordinator is done, or gone

async function follow(signal: AbortSignal): Promise<void> {
  await using stafett = await connect(address, { client: 'tax-returns', host: name, namespace, signal });
  const newLetter = stafett.settings.define(TOGGLE, BOOLEAN, false);
  await newLetter.ready(signal);
  newLetter.onChange((on) => tell(`${TOGGLE} ${on}`));
  for await (const event of stafett.events.subscribe(CHANNEL, { signal })) {
    if (event.type === 'subscribed') tell('ready');
    if (event.type === 'publication') tell(`${event.channel} ${JSON.stringify(event.data)}`);
  }
}

function tell(what: string): void {
  const message: NewsNodeMessage = { what, at: Number(process.hrtime.bigint()) / 1e6 };
  if (process.connected) process.send?.(message);
}

await follow(leaving.signal).catch((error: unknown) => {
  if (!leaving.signal.aborted) throw error;
});
