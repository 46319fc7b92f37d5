import type { Duration } from '../gen/google/protobuf/duration.js';
import type { ClientInfo } from '../gen/stafett/v1/session.js';
import { checkDuration, checkText } from '../rpc/fields.js';

const TTL_MS_MIN = 1_000;
const TTL_MS_DEFAULT = 15_000;

/** The TTL in ms, and who is behind the session as the engine keeps it. @throws {StafettError} INVALID_FIELD */
export function checkSession(
  { ttl, client }: { ttl?: Duration | undefined; client?: ClientInfo | undefined },
  maxTtlMs: number,
): [ttlMs: number, owner: string] {
  const ttlMs = ttl ? checkDuration('ttl', ttl, TTL_MS_MIN, maxTtlMs) : Math.min(TTL_MS_DEFAULT, maxTtlMs);
  const { name, version, host } = client ?? { name: '', version: '', host: '' };
  checkText('client.name', name);
  checkText('client.version', version);
  checkText('client.host', host);
  return [ttlMs, JSON.stringify([name, version, host])];
}
