import { connect, createServer, type Server, type Socket } from 'node:net';
import { onCleanup } from './cleanup.js';

/** A load balancer for TCP, as there is one before real servers: each connection goes to the first target that takes it. */
export async function startBalancer(ports: readonly number[]): Promise<{ readonly port: number }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => {}).on('close', () => sockets.delete(client));
    serve(client, ports);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as { port: number }).port };
}

function serve(client: Socket, [port, ...others]: readonly number[]): void {
  if (port === undefined) return void client.destroy();
  const upstream = connect(port, '127.0.0.1');
  upstream.once('error', () => serve(client, others));
  upstream.once('connect', () => {
    upstream.removeAllListeners('error').on('error', () => client.destroy());
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
}
