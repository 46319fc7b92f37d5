import { cpuSeconds, cpuSecondsWithChildren } from './cpu.js';
import { parseInfo } from './redis-server.js';
import type { Services } from './services.js';
import type { Metrics } from './stats.js';

/** Counters of everything that takes part, at one moment. */
export interface Snapshot {
  atMs: number;
  counters: Metrics;
}

const scriptCommands = new Set(['eval', 'evalsha', 'eval_ro', 'evalsha_ro', 'fcall', 'fcall_ro']);
const ownCommands = new Set(['info', 'ping', 'hello', 'client', 'client|setinfo', 'client|setname', 'select', 'auth']);

/** Reads all counters. */
export async function snapshot(services: Services, clientPid: number): Promise<Snapshot> {
  const [redis, messages] = await Promise.all([redisCounters(services), grpcMessages(services)]);
  const counters = {
    ...redis,
    grpcMessages: messages,
    clientCpu: cpuSeconds(clientPid),
    redisCpu: cpuSeconds(services.redis.pid),
    serverCpu: services.stafett === undefined ? Number.NaN : cpuSeconds(services.stafett.pid),
    postgresCpu: services.postgres === undefined ? Number.NaN : cpuSecondsWithChildren(services.postgres.pid),
  };
  return { atMs: performance.now(), counters };
}

/** What happened between two snapshots, per second. */
export function ratesBetween(from: Snapshot, to: Snapshot): Metrics {
  const seconds = (to.atMs - from.atMs) / 1000;
  const rate = (name: string) => ((to.counters[name] ?? Number.NaN) - (from.counters[name] ?? Number.NaN)) / seconds;
  return Object.fromEntries(Object.keys(to.counters).map((name) => [`${name}PerSecond`, rate(name)]));
}

/** Script calls and the time in them, all commands (those inside the scripts included), and bytes through Redis's sockets. */
async function redisCounters({ redis }: Services): Promise<Metrics> {
  const [stats, traffic] = await Promise.all([redis.admin.info('commandstats'), redis.admin.info('stats')]);
  let scripts = 0;
  let commands = 0;
  let scriptMicros = 0;
  for (const [name, value] of parseInfo(stats)) {
    const command = name.replace(/^cmdstat_/, '');
    const calls = Number(/calls=(\d+)/.exec(value)?.[1] ?? 0);
    if (scriptCommands.has(command)) {
      scripts += calls;
      scriptMicros += Number(/usec=(\d+)/.exec(value)?.[1] ?? 0);
    } else if (!ownCommands.has(command)) commands += calls;
  }
  const bytes = parseInfo(traffic);
  const redisBytes = Number(bytes.get('total_net_input_bytes')) + Number(bytes.get('total_net_output_bytes'));
  return { redisScripts: scripts, redisScriptMicros: scriptMicros, redisCommands: commands, redisBytes };
}

/** gRPC messages that the Stafett server received and sent, from its metrics; NaN where it does not count them. */
async function grpcMessages({ stafett }: Services): Promise<number> {
  if (stafett === undefined) return Number.NaN;
  try {
    const response = await fetch(`http://${stafett.httpAddress}/metrics`);
    const lines = (await response.text()).split('\n').filter((line) => /^grpc_server_(stream_)?msg_(received|sent)_total/.test(line));
    return lines.length === 0 ? Number.NaN : lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  } catch {
    return Number.NaN;
  }
}
