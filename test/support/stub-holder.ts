// A client process that holds a lock under a session, keeps that alive, and does nothing else until it is killed:
// node --import tsx stub-holder.ts <port> <namespace> <ttl in ms> <name>. It tells on stdout when it has the lock.
import { StubClient } from './stub-client.js';

const [port, namespace, ttlMs, name] = process.argv.slice(2) as [string, string, string, string];
const client = new StubClient(Number(port), namespace);
const session = await client.openSession({ ttlMs: Number(ttlMs), client: { name: 'holder', version: '1', host: 'doomed' } });
await client.lock(name, { session });
console.log('holds');
setInterval(() => {}, 60_000);
