import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import type { HostPort } from './target.js';

/** Chooses the node of a cluster that a connection goes to: any one, but another than before. */
export class NodePicker {
  readonly #nodes: () => readonly HostPort[];
  #current: HostPort | undefined;

  constructor(nodes: () => readonly HostPort[]) {
    this.#nodes = nodes;
  }

  /** Is the node that was chosen last still one of them? */
  isCurrentThere(): boolean {
    const current = this.#current;
    return current === undefined || this.#nodes().some((node) => isSame(node, current));
  }

  next(): HostPort {
    const nodes = this.#nodes();
    const others = nodes.filter((node) => !this.#current || !isSame(node, this.#current));
    const choice = others.length > 0 ? others : nodes;
    this.#current = choice[Math.floor(Math.random() * choice.length)] as HostPort;
    return this.#current;
  }

  /** For ioredis: each attempt to connect goes to the next node. */
  connector(tls: boolean): NonNullable<RedisOptions['Connector']> {
    const next = () => this.next();
    return class extends AbstractConnector {
      constructor(options: unknown) {
        super((options as { disconnectTimeout: number }).disconnectTimeout);
      }

      async connect() {
        this.connecting = true;
        const { host, port } = next();
        this.stream = tls ? connectTls({ host, port, servername: host }) : connectTcp({ host, port });
        this.stream.once('error', (error: Error) => {
          this.firstError = error;
        });
        return this.stream;
      }
    };
  }
}

function isSame(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}
