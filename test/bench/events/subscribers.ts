// The process that subscribes: node --import tsx subscribers.ts <settings, JSON>. Told `subscribe` by its parent, it does so, so many times.
// It tells when all of them have a publication, and, asked, how long the publications took.
import { Client, credentials } from '@grpc/grpc-js';
import { Redis } from 'ioredis';
import { SubscribeRequest } from '../../../clients/typescript/src/gen/stafett/v1/event.js';
import { Samples } from '../harness/samples.js';
import { same } from '../streams/plain.js';
import { clockMs, marksIn } from './mark.js';

export interface SubscriberSettings {
  readonly channel: string;
  /** Of a Stafett server, or of Redis. */
  readonly address: string;
  readonly kind: 'stafett' | 'redis';
  /** 0: each subscriber has one of its own. */
  readonly connections: number;
}

export type ToSubscribers = { readonly type: 'subscribe'; readonly count: number } | { readonly type: 'report' };
export type FromSubscribers =
  | { readonly type: 'subscribed' }
  | { readonly type: 'done'; readonly n: number }
  | { readonly type: 'report'; readonly p50: number; readonly p99: number };

/** Those that connect at the same time. */
const GROUP = 50;
const SUBSCRIBE = '/stafett.v1.EventService/Subscribe';

const settings = JSON.parse(process.argv[2] as string) as SubscriberSettings;
const { channel, address, connections } = settings;
const clients: Client[] = [];
const missing = new Map<number, number>();
let subscribers = 0;
let delays = new Samples();

function tell(message: FromSubscribers): void {
  process.send?.(message);
}

function onMessage(message: string): void {
  const now = clockMs();
  for (const { n, at } of marksIn(message)) {
    delays.add(now - at);
    const left = (missing.get(n) ?? subscribers) - 1;
    if (left > 0) missing.set(n, left);
    else if (missing.delete(n) || subscribers === 1) tell({ type: 'done', n });
  }
}

function clientOf(index: number): Client {
  const slot = connections === 0 ? index : index % connections;
  clients[slot] ??= new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  return clients[slot];
}

/** A bare stream. Resolves with its first message, which tells where it begins. */
function subscribeToStafett(index: number): Promise<void> {
  const request = SubscribeRequest.encode(SubscribeRequest.fromPartial({ channels: [{ channel }] })).finish();
  const call = clientOf(index).makeServerStreamRequest(SUBSCRIBE, same, same, Buffer.from(request));
  return new Promise((resolve, reject) => {
    call.on('data', (message: Buffer) => {
      resolve();
      onMessage(message.toString('latin1'));
    });
    call.on('error', (error) => {
      reject(error);
      process.stderr.write(`a subscriber: ${error.message}\n`);
    });
  });
}

async function subscribeToRedis(): Promise<void> {
  const redis = new Redis(address);
  redis.on('message', (_, message: string) => onMessage(message));
  await redis.subscribe(channel);
}

async function subscribe(count: number): Promise<void> {
  const total = subscribers + count;
  while (subscribers < total) {
    const group = Array.from({ length: Math.min(GROUP, total - subscribers) }, (_, i) => subscribers + i);
    await Promise.all(group.map((index) => (settings.kind === 'redis' ? subscribeToRedis() : subscribeToStafett(index))));
    subscribers += group.length;
  }
  tell({ type: 'subscribed' });
}

process.on('message', (message: ToSubscribers) => {
  if (message.type === 'subscribe') return void subscribe(message.count);
  tell({ type: 'report', p50: delays.percentile(0.5), p99: delays.percentile(0.99) });
  delays = new Samples();
});
process.on('disconnect', () => process.exit());
