import type { ContenderSpec } from './contender.js';

export const stafett: ContenderSpec = {
  id: 'stafett',
  title: 'Stafett',
  settings: '@stafett/client with its defaults (session TTL 15 s): one process, one connection, one Pipeline stream',
  backend: 'stafett',
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: Number.POSITIVE_INFINITY,
  refreshPeriodMs: 5_000,
  async connect(endpoints) {
    const { connect } = await import('@stafett/client');
    if (endpoints.stafettAddress === undefined) throw new Error('no Stafett in this run');
    const client = await connect(endpoints.stafettAddress, { client: 'bench' });
    return {
      async acquire(name) {
        const lock = await client.locks.acquire(name);
        return () => lock.release();
      },
      close: () => client.close(),
    };
  },
};
