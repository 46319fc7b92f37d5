// The process that answers: node --import tsx source.ts <address of a Stafett server>. Tells its port and its instance id.
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { connect } from '@stafett/client';
import { BLOCK, PLAIN_METHOD, same } from './plain.js';

const block = Buffer.alloc(BLOCK, 'x');
const [address] = process.argv.slice(2) as [string];

/** As fast as the stream takes it, as anybody would with grpc-js. */
async function answer(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
  for (let left = call.request.readUInt32LE(0); left > 0; left--) {
    if (!call.write(block)) await new Promise((resolve) => call.once('drain', resolve));
  }
  call.end();
}

const server = new Server();
const codec = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
const definition = { stream: { path: PLAIN_METHOD, requestStream: false, responseStream: true, ...codec } };
server.addService(definition, { stream: (call: ServerWritableStream<Buffer, Buffer>) => void answer(call) });
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
});

const stafett = await connect(address, { client: 'bench', connectTimeout: '60s' });
const served = await stafett.instances.serve({
  handlers: {
    stream: async function* ({ blocks }) {
      for (let left = Number(blocks); left > 0; left--) yield block;
    },
  },
});
process.send?.({ port, id: served.id });
process.on('disconnect', () => process.exit());
