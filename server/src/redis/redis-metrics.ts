import { Counter, Gauge, type Registry } from 'prom-client';

interface Connection {
  readonly ready: boolean;
  readonly reconnects: number;
}

/** Whether the connections to Redis are there, and how often they had to be made again. */
export function addRedisMetrics(registry: Registry, connections: Readonly<Record<string, Connection>>): void {
  const common = { labelNames: ['connection'], registers: [registry] };
  new Gauge({
    ...common,
    name: 'stafett_redis_ready',
    help: '1 while the connection to Redis is usable.',
    collect() {
      for (const [connection, { ready }] of Object.entries(connections)) this.set({ connection }, ready ? 1 : 0);
    },
  });
  new Counter({
    ...common,
    name: 'stafett_redis_reconnects_total',
    help: 'How often the connection to Redis was made again after a loss.',
    collect() {
      this.reset();
      for (const [connection, { reconnects }] of Object.entries(connections)) this.inc({ connection }, reconnects);
    },
  });
}
