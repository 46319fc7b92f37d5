// The process in between of the contender `relay`: [id, verb, name, …] in, [id, 0 or 1, …] out, by one script for all that came meanwhile.
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { Packr } from 'msgpackr';
import { connectRedis } from './redis-connection.js';

export const RELAY_PATH = '/bench.Relay/Pipeline';
export const asItIs = (bytes: Buffer): Buffer => bytes;

const BATCH_MAX = 128;
const IN_FLIGHT_MAX = 2;
const SCRIPT = `
local asked, results = cmsgpack.unpack(ARGV[1]), {}
for i = 1, #asked, 2 do
  if asked[i] == 'set' then
    results[#results + 1] = redis.call('SET', asked[i + 1], '', 'NX', 'PX', 15000) and 1 or 0
  else
    results[#results + 1] = redis.call('DEL', asked[i + 1])
  end
end
return cmsgpack.pack(results)`;

type Asked = [id: number, verb: string, name: string];
const packr = new Packr({ useRecords: false });

/** Carries out what comes over the stream, as soon as fewer than so many scripts are under way. */
function serve(stream: ServerDuplexStream<Buffer, Buffer>, run: (batch: Buffer) => Promise<Buffer>): void {
  const pending: Asked[] = [];
  let inFlight = 0;
  const flush = (): void => {
    while (pending.length > 0 && inFlight < IN_FLIGHT_MAX) {
      const batch = pending.splice(0, BATCH_MAX);
      inFlight++;
      void run(packr.pack(batch.flatMap(([, verb, name]) => [verb, name]))).then((reply) => {
        inFlight--;
        const results = packr.unpack(reply) as number[];
        stream.write(packr.pack(batch.flatMap(([id], i) => [id, results[i]])));
        flush();
      });
    }
  };
  stream.on('error', () => {});
  stream.on('data', (message: Buffer) => {
    const asked = packr.unpack(message) as unknown[];
    for (let i = 0; i < asked.length; i += 3) pending.push(asked.slice(i, i + 3) as Asked);
    flush();
  });
}

async function main(redisUrl: string): Promise<void> {
  const redis = await connectRedis(redisUrl);
  const sha = (await redis.script('LOAD', SCRIPT)) as string;
  const server = new Server();
  const codec = { requestSerialize: asItIs, requestDeserialize: asItIs, responseSerialize: asItIs, responseDeserialize: asItIs };
  const method = { path: RELAY_PATH, requestStream: true, responseStream: true, ...codec };
  const pipeline = (stream: ServerDuplexStream<Buffer, Buffer>) =>
    serve(stream, (batch) => redis.callBuffer('EVALSHA', sha, 0, batch) as Promise<Buffer>);
  server.addService({ pipeline: method }, { pipeline });
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send?.(port);
  });
}

if (process.send && process.argv[1]?.endsWith('relay-server.ts')) {
  process.on('disconnect', () => process.exit(0));
  await main(process.argv[2] as string);
}
