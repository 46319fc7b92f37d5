import { Counter, Gauge, type Registry } from 'prom-client';
import type { Masters } from './masters.js';
import type { Subscriber } from './subscriber.js';

/** Whether the connections to Redis are there, and how often they had to be made again. */
export function addRedisMetrics(registry: Registry, masters: Masters, subscriber: Subscriber): void {
  const registers = [registry];
  const common = { labelNames: ['connection'], registers };
  new Gauge({
    ...common,
    name: 'stafett_redis_ready',
    help: '1 while the connection to Redis is usable; in a cluster, those to all masters.',
    collect() {
      this.set({ connection: 'commands' }, masters.all.every(({ ready }) => ready) ? 1 : 0);
      this.set({ connection: 'subscriptions' }, subscriber.ready ? 1 : 0);
    },
  });
  new Counter({
    ...common,
    name: 'stafett_redis_reconnects_total',
    help: 'How often the connection to Redis was made again after a loss.',
    collect() {
      this.reset();
      this.inc({ connection: 'commands' }, masters.reconnects);
      this.inc({ connection: 'subscriptions' }, subscriber.reconnects);
    },
  });
  new Gauge({
    name: 'stafett_redis_masters',
    help: 'Redis masters that keep namespaces, by whether they can be used.',
    labelNames: ['ready'],
    registers,
    collect() {
      const ready = masters.all.filter((master) => master.ready).length;
      this.set({ ready: 'yes' }, ready);
      this.set({ ready: 'no' }, masters.all.length - ready);
    },
  });
}
