import type { Registry } from 'prom-client';
import type { Engine } from '../engine/engine.js';
import { Channels, type ChannelsOptions } from './channels.js';
import { EventMetrics } from './event-metrics.js';

export interface ChannelsByNamespaceOptions extends Omit<ChannelsOptions, 'metrics'> {
  readonly engine: Engine;
  readonly registry: Registry;
}

/** The channels of all namespaces of this server, for whoever publishes or subscribes: the service, the gateway for browsers, other primitives. */
export class ChannelsByNamespace {
  readonly #options: ChannelsByNamespaceOptions;
  readonly #metrics: EventMetrics;
  readonly #known = new Map<string, Channels>();

  constructor(options: ChannelsByNamespaceOptions) {
    this.#options = options;
    this.#metrics = new EventMetrics(options.registry);
  }

  /** @throws {StafettError} TOO_MANY_NAMESPACES */
  of(namespace: string): Channels {
    const known = this.#known.get(namespace);
    if (known) return known;
    const channels = new Channels(this.#options.engine.namespace(namespace), { ...this.#options, metrics: this.#metrics });
    this.#known.set(namespace, channels);
    return channels;
  }
}
