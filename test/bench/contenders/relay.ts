import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { Packr } from 'msgpackr';
import type { ContenderSpec } from './contender.js';
import { asItIs, RELAY_PATH } from './relay-server.js';

const serverPath = fileURLToPath(new URL('./relay-server.ts', import.meta.url));
const packr = new Packr({ useRecords: false });

/** Starts a relay, and returns a way to ask it: as Stafett's client, with all that is asked for in one tick in one message. */
async function connectRelay(redisUrl: string) {
  const server = fork(serverPath, [redisUrl], { execArgv: ['--import', 'tsx'] });
  const [port] = (await once(server, 'message')) as [number];
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(RELAY_PATH, asItIs, asItIs);
  const pending = new Map<number, (done: number) => void>();
  let lastId = 0;
  let asked: unknown[] = [];
  const flush = () => {
    stream.write(packr.pack(asked));
    asked = [];
  };
  stream.on('error', () => {});
  stream.on('data', (message: Buffer) => {
    const results = packr.unpack(message) as number[];
    for (let i = 0; i < results.length; i += 2) {
      const id = results[i] as number;
      pending.get(id)?.(results[i + 1] as number);
      pending.delete(id);
    }
  });
  const ask = (verb: 'set' | 'del', name: string): Promise<number> =>
    new Promise((resolve) => {
      pending.set(++lastId, resolve);
      if (asked.push(lastId, verb, name) === 3) queueMicrotask(() => queueMicrotask(flush));
    });
  const close = async () => {
    client.close();
    server.kill();
  };
  return { ask, close };
}

/** No locks at all: what a server in between costs at the least. */
export const relay: ContenderSpec = {
  id: 'relay',
  title: 'bare relay, no locks',
  settings:
    'relay: SET NX and DEL through a process in between, over one gRPC stream of grpc-js, batched as Stafett does; nothing is checked, fenced or queued; its CPU is not shown',
  backend: 'redis',
  onlyWhenNamed: true,
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: 0,
  async connect(endpoints) {
    const { ask, close } = await connectRelay(endpoints.redisUrl);
    return {
      async acquire(name) {
        if ((await ask('set', name)) !== 1) throw new Error(`${name} is there already`);
        return () => ask('del', name);
      },
      close,
    };
  },
};
