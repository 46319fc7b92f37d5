import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, describeConfig, type Environment, parseConfig } from '../../server/src/config/config.js';
import { renderConfigurationDoc, renderHelp } from '../../server/src/config/docs.js';
import { VARIABLES } from '../../server/src/config/variables.js';
import { addressOptions } from '../../server/src/redis/client.js';
import { type RedisTarget, withSentinelLogin } from '../../server/src/redis/target.js';

function problemsOf(env: Environment): readonly string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('has the documented defaults', () => {
    expect(parseConfig({})).toEqual({
      grpcAddress: { host: '127.0.0.1', port: 50051 },
      httpAddress: { host: '127.0.0.1', port: 8080 },
      redisIsNew: false,
      insecure: false,
      logLevel: 'info',
      maxTtlMs: 30_000,
      lockRetentionMs: 86_400_000,
      maxNamespaces: 1_000,
      maxRuns: 100_000,
      maxWaitersPerLock: 100_000,
      maxSessions: 100_000,
      maxSettings: 10_000,
      maxSettingBytes: 65_536,
      flagdNamespace: 'default',
      maxLocksPerSession: 100_000,
      maxCommandsPerStream: 200_000,
      maxProcesses: 10_000,
      maxWorkers: 1_000,
      maxCallsPerInstance: 64,
      privilegedCalls: false,
      maxPendingAcquires: 200_000,
      maxPendingBytes: 268_435_456,
      maxMessageBytes: 4_194_304,
      resumeWindowMs: 5_000,
      drainTimeoutMs: 10_000,
      maxHistorySize: 10_000,
      maxHistoryAgeMs: 86_400_000,
      idempotencyWindowMs: 60_000,
      maxPublicationBytes: 65_536,
      maxSubscriberBytes: 1_048_576,
      maxSubscriptions: 10_000,
      sseHeartbeatMs: 15_000,
    });
  });

  it('takes an empty variable for an unset one', () => {
    expect(parseConfig({ STAFETT_MAX_TTL: '', REDIS_URL: ' ' })).toEqual(parseConfig({}));
  });

  it.each([
    ['250ms', 250],
    ['5s', 5_000],
    ['2m', 120_000],
    ['0ms', 0],
  ])('reads the duration %s', (text, ms) => {
    expect(parseConfig({ STAFETT_DRAIN_TIMEOUT: text }).drainTimeoutMs).toBe(ms);
  });

  it.each([
    ['STAFETT_MAX_TTL', '10'],
    ['STAFETT_MAX_TTL', '-5s'],
    ['STAFETT_MAX_TTL', '1.5s'],
    ['STAFETT_MAX_TTL', '999ms'],
    ['STAFETT_MAX_TTL', '25h'],
    ['STAFETT_MAX_SESSIONS', '0'],
    ['STAFETT_MAX_SESSIONS', '1e3'],
    ['STAFETT_MAX_SESSIONS', 'many'],
    ['STAFETT_MAX_MESSAGE_BYTES', '999999999999999999'],
    ['STAFETT_INSECURE', 'yes'],
    ['STAFETT_LOG_LEVEL', 'loud'],
    ['STAFETT_GRPC_ADDRESS', '50051'],
    ['STAFETT_GRPC_ADDRESS', ':50051'],
    ['STAFETT_GRPC_ADDRESS', '::1:50051'],
    ['STAFETT_GRPC_ADDRESS', '127.0.0.1:65536'],
    ['STAFETT_HTTP_ADDRESS', 'http://127.0.0.1:80'],
  ])('refuses %s=%s, and says which, what and what else', (name, value) => {
    const [problem, ...others] = problemsOf({ [name]: value });
    expect(problem).toContain(`${name}="${value}": must be`);
    expect(others).toEqual([]);
  });

  it('tells all problems at once', () => {
    const problems = problemsOf({ STAFETT_MAX_TTL: 'x', STAFETT_INSECURE: 'x', STAFETT_FOO: 'x', STAFETT_HTTP_ADDRESS: '0.0.0.0:80' });
    expect(problems.map((problem) => /^\w+/.exec(problem)?.[0]).sort()).toEqual([
      'STAFETT_FOO',
      'STAFETT_HTTP_ADDRESS',
      'STAFETT_INSECURE',
      'STAFETT_MAX_TTL',
    ]);
  });
});

describe('an address that other machines can reach', () => {
  it.each(['0.0.0.0:1', '[::]:1', '10.0.0.1:1', 'example.org:1', '127.0.0.1.example.org:1'])('is refused: %s', (value) => {
    expect(problemsOf({ STAFETT_GRPC_ADDRESS: value })[0]).toContain('STAFETT_INSECURE=true');
    expect(problemsOf({ STAFETT_HTTP_ADDRESS: value })[0]).toContain('no authentication');
  });

  it('is allowed once somebody said so', () => {
    expect(parseConfig({ STAFETT_GRPC_ADDRESS: '[::]:1', STAFETT_INSECURE: 'true' }).grpcAddress).toEqual({ host: '::', port: 1 });
  });

  it.each(['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1'])('is not %s', (value) => {
    expect(problemsOf({ STAFETT_GRPC_ADDRESS: value })).toEqual([]);
  });
});

describe('an unknown variable', () => {
  it.each([
    ['STAFETT_MAX_TLL', 'STAFETT_MAX_TTL'],
    ['STAFETT_GRPC_ADRESS', 'STAFETT_GRPC_ADDRESS'],
    ['STAFETT_HTTP_PORT', 'STAFETT_HTTP_ADDRESS'],
    ['STAFETT_LOGLEVEL', 'STAFETT_LOG_LEVEL'],
  ])('%s is refused with the question whether %s was meant', (name, meant) => {
    expect(problemsOf({ [name]: 'x' })).toEqual([`${name}: there is no such variable; did you mean ${meant}?`]);
  });

  it('is no matter when it belongs to our tools or the platform', () => {
    const env = {
      STAFETT_TEST_REDIS: 'x',
      STAFETT_BENCH_SECONDS: '1',
      STAFETT_SERVICE_HOST: '10.0.0.1',
      STAFETT_SERVICE_PORT_GRPC: '50051',
      STAFETT_PORT: 'tcp://10.0.0.1:50051',
      STAFETT_PORT_50051_TCP_ADDR: '10.0.0.1',
      STAFETT_METRICS_SERVICE_HOST: '10.0.0.1',
    };
    expect(problemsOf(env)).toEqual([]);
  });
});

describe('REDIS_URL', () => {
  it.each([
    ['redis://h', { kind: 'tcp', host: 'h', port: 6379, tls: false, db: 0 }],
    ['rediss://u:p%40%2F@h:1/3', { kind: 'tcp', host: 'h', port: 1, tls: true, username: 'u', password: 'p@/', db: 3 }],
    ['redis://:p@[::1]:2', { kind: 'tcp', host: '::1', port: 2, tls: false, password: 'p', db: 0 }],
    ['unix:///run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
    [
      'redis+sentinel://u:p%40@a,[::1]:5,b:26380/main/2',
      {
        kind: 'sentinel',
        sentinels: [
          { host: 'a', port: 26379 },
          { host: '::1', port: 5 },
          { host: 'b', port: 26380 },
        ],
        master: 'main',
        tls: false,
        username: 'u',
        password: 'p@',
        db: 2,
      },
    ],
    ['rediss+sentinel://a/main', { kind: 'sentinel', sentinels: [{ host: 'a', port: 26379 }], master: 'main', tls: true, db: 0 }],
    [
      'redis+cluster://u:p%40@a,[::1]:5,b:7001/',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 6379 },
          { host: '::1', port: 5 },
          { host: 'b', port: 7001 },
        ],
        tls: false,
        username: 'u',
        password: 'p@',
      },
    ],
    ['rediss+cluster://:p@a', { kind: 'cluster', nodes: [{ host: 'a', port: 6379 }], tls: true, password: 'p' }],
    ['unix:/run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
  ])('%s is understood', (url, target) => {
    expect(parseConfig({ REDIS_URL: url }).redisTarget).toEqual(target);
  });

  it.each([
    ['redis+sentinel://a,b', 'must name sentinels and a master'],
    ['redis+sentinel://a,,b/main', 'is no host[:port] of a sentinel'],
    ['redis+sentinel://a/main/x', 'must be a number'],
    ['redis+sentinel://a/main?x=1', 'takes no parameters'],
    ['redis+cluster://', 'must name nodes'],
    ['redis+cluster://a,,b', 'is no host[:port] of a node'],
    ['redis+cluster://a:65536', 'is no host[:port] of a node'],
    ['redis+cluster://a,b/1', 'a cluster has no databases'],
    ['redis+cluster://a?x=1', 'takes no parameters'],
    ['http://h', 'must be redis://'],
    ['h:6379', 'must be redis://'],
    ['redis:///', 'names no host'],
    ['redis://h/x', 'must be a number'],
    ['redis://h?db=1', 'takes no parameters'],
    ['redis://u:p#q@h', 'percent-encoded'],
    ['unix://run/redis.sock', 'must be absolute'],
  ])('%s is refused: %s', (url, problem) => {
    expect(problemsOf({ REDIS_URL: url })).toEqual([expect.stringMatching(/^REDIS_URL=/)]);
    expect(problemsOf({ REDIS_URL: url })[0]).toContain(problem);
  });

  it.each([
    'http://u:geheim@h',
    'redis://u:geheim#@h',
    'redis://u:ge@geheim@h/x',
    'redis+sentinel://:geheim@h',
    'redis+cluster://:geheim@h/1',
    'redis://u:geheim@h/1',
  ])('is never shown with its password: %s', (url) => {
    expect([...problemsOf({ REDIS_URL: url }), describeConfig({ REDIS_URL: url })].join('\n')).not.toContain('geheim');
  });
});

describe('the log-in at sentinels', () => {
  const REDIS_URL = 'rediss+sentinel://u:p@a/main';
  const login = { STAFETT_SENTINEL_USERNAME: 'watcher', STAFETT_SENTINEL_PASSWORD: 'ge heim@/#' };

  it('is not that of the master', () => {
    const config = parseConfig({ REDIS_URL, ...login });
    const target = withSentinelLogin(config.redisTarget as RedisTarget, config);
    expect(target).toMatchObject({ username: 'u', password: 'p', sentinelUsername: 'watcher', sentinelPassword: 'ge heim@/#' });
    expect(addressOptions(target)).toMatchObject({
      username: 'u',
      password: 'p',
      sentinelUsername: 'watcher',
      sentinelPassword: 'ge heim@/#',
    });
    expect(addressOptions(target)).toMatchObject({ tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true });
  });

  it('may be a password alone', () => {
    const config = parseConfig({ REDIS_URL, STAFETT_SENTINEL_PASSWORD: 'p' });
    expect(withSentinelLogin(config.redisTarget as RedisTarget, config)).not.toHaveProperty('sentinelUsername');
  });

  it.each([
    [{ ...login, REDIS_URL: 'redis://a' }, ['STAFETT_SENTINEL_USERNAME', 'STAFETT_SENTINEL_PASSWORD'], 'is only for sentinels'],
    [login, ['STAFETT_SENTINEL_USERNAME', 'STAFETT_SENTINEL_PASSWORD'], 'is only for sentinels'],
    [{ ...login, REDIS_URL: 'redis+sentinel://a' }, ['REDIS_URL'], 'must name sentinels'],
    [{ REDIS_URL, STAFETT_SENTINEL_USERNAME: 'watcher' }, ['STAFETT_SENTINEL_USERNAME'], 'needs STAFETT_SENTINEL_PASSWORD'],
    [{ REDIS_URL, STAFETT_SENTINEL_PASSWORD: 'x'.repeat(513) }, ['STAFETT_SENTINEL_PASSWORD'], 'at most 512 characters'],
  ])('%j is refused', (env, names, problem) => {
    const problems = problemsOf(env);
    expect(problems.map((each) => each.replace(/=.*/s, ''))).toEqual(names);
    for (const each of problems) expect(each).toContain(problem);
  });

  it('is never shown with its password', () => {
    for (const url of [REDIS_URL, 'redis://a']) {
      const env = { ...login, REDIS_URL: url };
      expect([...problemsOf(env), describeConfig(env)].join('\n')).not.toContain('heim');
    }
    expect(describeConfig({ REDIS_URL, ...login })).toContain('STAFETT_SENTINEL_PASSWORD=***\n');
  });
});

describe('what is written about the configuration', () => {
  it('docs/configuration.md is what the table says', () => {
    const file = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    expect(file, 'renew it by the command in its second line').toBe(renderConfigurationDoc());
  });

  it('--help and --check-config know every variable', () => {
    for (const { env } of Object.values(VARIABLES)) {
      expect(renderHelp('1')).toContain(env);
      expect(describeConfig({})).toContain(env);
    }
  });
});
