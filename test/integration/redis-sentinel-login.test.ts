import { expect, test } from 'vitest';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { connectClient, holder } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { redisSpeaksTls } from '../support/redis-private.js';
import { type SentinelOptions, startSentinel } from '../support/redis-sentinel.js';
import { startServer } from '../support/stack.js';

// Sentinels have a log-in of their own, and speak TLS if the master does.

const PASSWORD = 'geheim-1';
const TTL = '12s';

/** The environment of a server that knows how to log in. */
function loginEnv({ username, password, certificate }: SentinelOptions): Record<string, string> {
  return {
    STAFETT_MAX_TTL: TTL,
    STAFETT_LOG_LEVEL: 'trace',
    ...(username !== undefined && { STAFETT_SENTINEL_USERNAME: username }),
    ...(password !== undefined && { STAFETT_SENTINEL_PASSWORD: password }),
    ...(certificate && { NODE_EXTRA_CA_CERTS: certificate.certFile }),
  };
}

async function survivesFailOver(options: SentinelOptions): Promise<void> {
  const setup = await startSentinel(options);
  const server = await startServer({ redis: setup.url, env: loginEnv(options) });
  const client = await connectClient(server, { ttl: TTL });
  const lock = await client.locks.acquire('a');
  await setup.master.kill();
  await setup.whenMasterIs(setup.replica);
  const known = async () => (await holder(client, 'a').catch(() => undefined))?.fencingToken === lock.fencingToken;
  await eventually('the lock to be known again', known, { timeoutMs: 15_000 });
  lock.assertHeld();
  expect(JSON.stringify(server.logs())).not.toContain(PASSWORD);
}

test('a server logs in at sentinels by their password, and follows them to another master', async () => {
  await survivesFailOver({ password: PASSWORD });
});

test('the same by a user of their own, over TLS', async ({ skip }) => {
  const certificate = redisSpeaksTls() ? await makeCertificate() : undefined;
  if (certificate === undefined) skip('needs openssl, and a Redis that was built with TLS');
  await survivesFailOver({ username: 'watcher', password: PASSWORD, certificate: certificate as Certificate });
});

test('a server with no password, or a wrong one, says at once what is to be corrected', async () => {
  const { url } = await startSentinel({ password: PASSWORD });
  for (const wrong of [{}, { password: `${PASSWORD}-wrong` }]) {
    const problem = await startServer({ redis: url, env: loginEnv(wrong) }).then(() => 'it started', String);
    expect(problem).toMatch(/the sentinels of redis\+sentinel:\S+ refuse the log-in .*STAFETT_SENTINEL_PASSWORD/);
    expect(problem).not.toContain(PASSWORD);
  }
});
