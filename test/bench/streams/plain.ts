import { Client, credentials } from '@grpc/grpc-js';

/** Bytes of one message: those of a chunk of an instance's answer. */
export const BLOCK = 65_536;
export const PLAIN_METHOD = '/bench.Plain/Stream';
export const same = (bytes: Buffer) => bytes;

/** Reads so many blocks from a bare server stream of grpc-js. Returns how many bytes came. */
export async function readPlain(port: number, blocks: number): Promise<number> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const request = Buffer.alloc(4);
  request.writeUInt32LE(blocks);
  let bytes = 0;
  for await (const chunk of client.makeServerStreamRequest(PLAIN_METHOD, same, same, request)) bytes += (chunk as Buffer).length;
  client.close();
  return bytes;
}
