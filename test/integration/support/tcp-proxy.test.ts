import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { beforeEach, describe, expect, test } from 'vitest';
import { onCleanup } from '../../support/cleanup.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/ports.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

let proxy: TcpProxy;

beforeEach(async () => {
  proxy = await startTcpProxy({ port: await startEcho() });
});

describe('a TCP proxy', () => {
  test('passes everything on, unchanged, and the end too', async () => {
    const client = await dial();
    const sent = Buffer.alloc(5_000_000, 'relay race ');
    client.socket.end(sent);
    await once(client.socket, 'end');
    expect(Buffer.concat(client.received).equals(sent)).toBe(true);
    await eventually('the connection to be gone', () => proxy.connections === 0);
  });

  test.each(['up', 'down', 'both ways'] as const)('holds back what goes %s, and loses nothing', async (which) => {
    const direction = which === 'both ways' ? undefined : which;
    const client = await dial();
    proxy.pause(direction);
    client.socket.write('one');
    const later = await dial();
    later.socket.write('also');
    await expect(eventually('an answer', () => client.text() + later.text() !== '', { timeoutMs: 100 })).rejects.toThrow('in vain');
    client.socket.write(' two');
    proxy.resume(direction);
    await eventually('the answer', () => client.text() === 'one two');
    await eventually('the answer', () => later.text() === 'also');
  });

  test('leaves with the sender what is too much to hold', async () => {
    const { socket } = await dial();
    proxy.pause();
    const chunk = Buffer.alloc(1_000_000);
    for (let i = 0; i < 100; i++) socket.write(chunk);
    await eventually('the sender to be held up', () => socket.bytesWritten > 1_000_000 && socket.writableLength > 50_000_000);
  });

  test('delays each way', async () => {
    const client = await dial();
    proxy.delay(100);
    const start = performance.now();
    client.socket.write('slow');
    await eventually('the answer', () => client.text() === 'slow');
    expect(performance.now() - start).toBeGreaterThanOrEqual(198);
  });

  test('cuts what there is, and accepts new connections', async () => {
    const client = await dial();
    const closed = closeOf(client.socket);
    proxy.cut();
    await closed;
    const next = await dial();
    next.socket.write('again');
    await eventually('the answer', () => next.text() === 'again');
  });

  test('refuses new connections, leaves the others, and accepts again at the same port', async () => {
    const client = await dial();
    const { port } = proxy;
    proxy.refuse();
    await expect(dial()).rejects.toThrow('ECONNREFUSED');
    client.socket.write('still here');
    await eventually('the answer', () => client.text() === 'still here');
    await proxy.accept();
    expect(proxy.port).toBe(port);
    await dial();
  });

  test('resets the connection when the target refuses', async () => {
    const dead = await startTcpProxy({ port: await freePort() });
    const { socket } = await dial(dead);
    await closeOf(socket);
  });
});

async function dial({ port } = proxy): Promise<{ socket: Socket; received: Buffer[]; text(): string }> {
  const socket = connect({ host: '127.0.0.1', port });
  onCleanup(() => socket.destroy());
  await once(socket, 'connect');
  socket.on('error', () => {});
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  return { socket, received, text: () => Buffer.concat(received).toString() };
}

function closeOf(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve));
}

async function startEcho(): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket));
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  onCleanup(() => server.close());
  return port;
}
