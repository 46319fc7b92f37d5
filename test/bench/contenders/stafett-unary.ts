import type { ContenderSpec } from './contender.js';

const sessionTtlSeconds = 30;
const waitTimeoutSeconds = 3600;

export const stafettUnary: ContenderSpec = {
  id: 'stafett-unary',
  title: 'Stafett, unary calls',
  settings: `the generated nice-grpc stub, Acquire and Release on one channel, one session with a TTL of ${sessionTtlSeconds} s`,
  backend: 'stafett',
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: 0,
  async connect(endpoints) {
    const { createChannel, createClient } = await import('nice-grpc');
    const { LockServiceDefinition } = await import('../../../clients/typescript/src/gen/stafett/v1/lock.js');
    const { SessionServiceDefinition } = await import('../../../clients/typescript/src/gen/stafett/v1/session.js');
    if (endpoints.stafettAddress === undefined) throw new Error('no Stafett in this run');
    const channel = createChannel(endpoints.stafettAddress);
    const sessions = createClient(SessionServiceDefinition, channel);
    const locks = createClient(LockServiceDefinition, channel);
    const { session } = await sessions.openSession({ ttl: { seconds: BigInt(sessionTtlSeconds), nanos: 0 }, client: { name: 'bench' } });
    const sessionId = session?.sessionId ?? '';
    const waitTimeout = { seconds: BigInt(waitTimeoutSeconds), nanos: 0 };
    return {
      async acquire(name) {
        const { outcome } = await locks.acquire({ names: [name], sessionId, waitTimeout });
        if (outcome?.$case !== 'grant') throw new Error(`no grant of ${name}`);
        const { lockId } = outcome.value;
        return () => locks.release({ lockId });
      },
      async close() {
        await sessions.closeSession({ sessionId });
        channel.close();
      },
    };
  },
};
