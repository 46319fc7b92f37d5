// A client process that waits for a lock until it is killed: node waiting-client.mjs <port> <AcquireRequest in base64>
import { Client, credentials } from '@grpc/grpc-js';

const [port, request] = process.argv.slice(2);
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const same = (bytes) => bytes;
client.makeUnaryRequest('/stafett.v1.LockService/Acquire', same, same, Buffer.from(request, 'base64'), () => process.exit());
