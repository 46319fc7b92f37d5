import { createHash } from 'node:crypto';
import type { Client } from 'pg';
import type { ContenderSpec } from './contender.js';

/** Advisory locks are named by a 64-bit number. */
function lockKey(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE(0).toString();
}

async function connectAll(clients: readonly Client[]): Promise<void> {
  const atOnce = 16;
  for (let i = 0; i < clients.length; i += atOnce) await Promise.all(clients.slice(i, i + atOnce).map((client) => client.connect()));
}

export const postgres: ContenderSpec = {
  id: 'postgres',
  title: 'Postgres advisory locks',
  settings:
    'pg_advisory_lock / pg_advisory_unlock as prepared statements, one connection for each lane (opened before the measurement), ' +
    'loopback TCP, max_connections 1,100, deadlock_timeout 60 s (at its default of 1 s 1,000 waiters bring it to a standstill)',
  backend: 'postgres',
  inFlightMax: 1000,
  waitersMax: 1000,
  async connect(endpoints, lanes) {
    const { default: pg } = await import('pg');
    const { postgres: server } = endpoints;
    if (server === undefined) throw new Error('no PostgreSQL in this run');
    const clients = Array.from({ length: lanes }, () => new pg.Client({ ...server, ssl: false }));
    for (const client of clients) client.on('error', () => {});
    await connectAll(clients);
    const keys = new Map<string, string>();
    return {
      async acquire(name, lane) {
        const client = clients[lane];
        if (client === undefined) throw new Error(`no connection for lane ${lane}`);
        const key = keys.get(name) ?? lockKey(name);
        keys.set(name, key);
        const values = [key];
        await client.query({ name: 'lock', text: 'select pg_advisory_lock($1)', values });
        return () => client.query({ name: 'unlock', text: 'select pg_advisory_unlock($1)', values });
      },
      async close() {
        await Promise.all(clients.map((client) => client.end()));
      },
    };
  },
};
