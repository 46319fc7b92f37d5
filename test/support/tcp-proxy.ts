import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { onCleanup } from './cleanup.js';
import { freePort } from './ports.js';
import { Pipe } from './tcp-pipe.js';

/** Up: from the client to the target. Down: back. */
export type Direction = 'up' | 'down';

export interface Target {
  readonly host?: string;
  readonly port: number;
}

/**
 * Stands between a client and a server on the loopback interface and makes trouble: holds back, delays, cuts, refuses.
 * It never drops or changes a byte of a connection that it lets live. It is closed with the test, or the file, that
 * started it.
 */
export async function startTcpProxy(target: Target): Promise<TcpProxy> {
  const proxy = new TcpProxy(target);
  onCleanup(() => proxy.close());
  await proxy.accept();
  return proxy;
}

const BOTH: readonly Direction[] = ['up', 'down'];

export class TcpProxy {
  #target: Target;
  readonly #links = new Set<Link>();
  readonly #paused = new Set<Direction>();
  #delayMs = 0;
  #server: Server | undefined;
  #port = 0;

  constructor(target: Target) {
    this.#target = target;
  }

  /** Where connections from now on lead. Those that there are stay. */
  retarget(target: Target): void {
    this.#target = target;
  }

  /** Stays the same after `refuse`. */
  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** How many connections there are now. */
  get connections(): number {
    return this.#links.size;
  }

  /** Holds back what goes in this direction, or in both, also on connections to come. Nobody can tell it from a slow network. */
  pause(direction?: Direction): void {
    for (const one of direction ? [direction] : BOTH) this.#paused.add(one);
    this.#apply();
  }

  /** Lets flow again, what was held back first. */
  resume(direction?: Direction): void {
    for (const one of direction ? [direction] : BOTH) this.#paused.delete(one);
    this.#apply();
  }

  /** From now on everything takes so much longer, each way. */
  delay(ms: number): void {
    this.#delayMs = ms;
    this.#apply();
  }

  /** Resets all connections; what was held back is lost. New ones are accepted. */
  cut(): void {
    for (const link of this.#links) link.cut();
  }

  /** New connections are refused, as if nobody listened. Those that exist stay. */
  refuse(): void {
    this.#server?.close(); // its port at once, its connections when they end
    this.#server = undefined;
  }

  /** The opposite of `refuse`, at the same port. */
  async accept(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#link(client));
    if (this.#port === 0) this.#port = await freePort();
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  /** `refuse` and `cut`. */
  close(): void {
    this.refuse();
    this.cut();
  }

  #link(client: Socket): void {
    const { host = '127.0.0.1', port } = this.#target;
    const link = new Link(client, connect({ host, port, allowHalfOpen: true, noDelay: true }), () => this.#links.delete(link));
    this.#links.add(link);
    this.#apply();
  }

  #apply(): void {
    for (const { up, down } of this.#links) {
      up.set({ paused: this.#paused.has('up'), delayMs: this.#delayMs });
      down.set({ paused: this.#paused.has('down'), delayMs: this.#delayMs });
    }
  }
}

/** One connection: two sockets and the pipes between them. */
class Link {
  readonly up: Pipe;
  readonly down: Pipe;

  constructor(
    readonly client: Socket,
    readonly server: Socket,
    onClose: () => void,
  ) {
    this.up = new Pipe(client, server);
    this.down = new Pipe(server, client);
    for (const socket of [client, server]) {
      socket.on('error', () => this.cut());
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) onClose();
      });
    }
  }

  cut(): void {
    this.up.stop();
    this.down.stop();
    for (const socket of [this.client, this.server]) if (!socket.destroyed) socket.resetAndDestroy();
  }
}
