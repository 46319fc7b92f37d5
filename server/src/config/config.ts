import { nearest } from './nearest.js';
import { isLoopback } from './types.js';
import { type Config, type ConfigKey, VARIABLES, type Variable } from './variables.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Everything that is wrong with a configuration, one sentence each, which begins with the name of the variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

const KEYS = Object.keys(VARIABLES) as ConfigKey[];
const NAMES = KEYS.map((key) => VARIABLES[key].env);

/** Variables of our tests, demo and benchmark, which run in the same environment. */
const OF_TOOLS = /^STAFETT_(TEST|DEMO|BENCH)_/;
/** Kubernetes and Docker links set these in every container, for a service that is called `stafett` or `stafett-…`. */
const OF_PLATFORM = /^STAFETT_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/**
 * Reads the configuration from environment variables; an empty one counts as unset. Pure: looks at nothing else.
 * @throws {ConfigError} with all problems at once.
 */
export function parseConfig(env: Environment): Config {
  const values: Partial<Record<ConfigKey, unknown>> = {};
  const problems = findUnknown(env);
  for (const key of KEYS) {
    const text = textOf(VARIABLES[key], env);
    if (text === undefined) continue;
    const result = VARIABLES[key].type.schema.safeParse(text);
    if (result.success) values[key] = result.data;
    else problems.push(...result.error.issues.map((issue) => describe(key, issue.message, env)));
  }
  problems.push(...findExposed(values as Partial<Config>, env), ...findLoginNowhere(values as Partial<Config>, env));
  if (problems.length > 0) throw new ConfigError(problems);
  return values as unknown as Config;
}

/** Shows the effective configuration, one `NAME=value` per line, as `--check-config` prints it. Passwords are masked. */
export function describeConfig(env: Environment): string {
  const lines = KEYS.map((key) => {
    const variable: Variable<unknown> = VARIABLES[key];
    const isSet = (env[variable.env] ?? '') !== '';
    const text = textOf(variable, env);
    if (text === undefined) return `# ${variable.env} is unset`;
    return `${variable.env}=${masked(variable, text)}${isSet ? '' : '  # default'}`;
  });
  return `${lines.join('\n')}\n`;
}

function textOf(variable: Variable<unknown>, env: Environment): string | undefined {
  const text = env[variable.env]?.trim();
  return text === undefined || text === '' ? variable.fallback : text;
}

function describe(key: ConfigKey, problem: string, env: Environment): string {
  const variable: Variable<unknown> = VARIABLES[key];
  const text = textOf(variable, env) ?? '';
  return `${variable.env}=${JSON.stringify(masked(variable, text))}: ${problem}`;
}

function masked({ mask }: Variable<unknown>, text: string): string {
  return mask === undefined ? text : mask(text);
}

/** Nothing that other machines can reach without being told: there is no authentication yet. */
function findExposed(config: Partial<Config>, env: Environment): string[] {
  if (config.insecure) return [];
  return (['grpcAddress', 'httpAddress'] as const)
    .filter((key) => config[key] !== undefined && !isLoopback(config[key]))
    .map((key) => {
      const problem =
        'other machines can reach this address, and this version has no authentication yet, so anyone there could take and break locks. ' +
        'Use a loopback address (127.0.0.1, [::1], localhost), or set STAFETT_INSECURE=true if the network itself keeps strangers out';
      return describe(key, problem, env);
    });
}

/** A log-in at sentinels that nobody would use. An address that is itself wrong is told as such. */
function findLoginNowhere({ redisTarget, sentinelUsername, sentinelPassword }: Partial<Config>, env: Environment): string[] {
  const problems: string[] = [];
  const isWrong = redisTarget === undefined && textOf(VARIABLES.redisTarget, env) !== undefined;
  if (redisTarget?.kind !== 'sentinel' && !isWrong) {
    const problem = 'is only for sentinels: REDIS_URL must be redis+sentinel://… or rediss+sentinel://…';
    if (sentinelUsername !== undefined) problems.push(describe('sentinelUsername', problem, env));
    if (sentinelPassword !== undefined) problems.push(describe('sentinelPassword', problem, env));
  } else if (sentinelUsername !== undefined && textOf(VARIABLES.sentinelPassword, env) === undefined) {
    problems.push(describe('sentinelUsername', 'needs STAFETT_SENTINEL_PASSWORD as well', env));
  }
  return problems;
}

function findUnknown(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('STAFETT_') && !NAMES.includes(name) && !isForeign(name, env[name] ?? ''))
    .map((name) => {
      const close = nearest(name, NAMES);
      return `${name}: there is no such variable${close === undefined ? '; --help lists all' : `; did you mean ${close}?`}`;
    });
}

function isForeign(name: string, value: string): boolean {
  if (OF_TOOLS.test(name) || OF_PLATFORM.test(name)) return true;
  // Only by its value: STAFETT_HTTP_PORT=8080 is a mistake that somebody wants to hear of.
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value);
}
