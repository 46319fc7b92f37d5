import { createServer } from 'node:net';

/** Below those that the kernel gives to outgoing connections, one of which might else take a port while it is closed for a moment. */
const FIRST = 20_000;
const LAST = 29_999;
const TRIES = 50;

/** A port of the loopback interface that nobody listens on now. */
export async function freePort(): Promise<number> {
  for (let i = 0; i < TRIES; i++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (await canListen(port)) return port;
  }
  throw new Error(`no free port found between ${FIRST} and ${LAST}`);
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
