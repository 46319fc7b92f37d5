#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { destination, type Logger, pino } from 'pino';
import { type Addresses, type App, createApp } from './app.js';
import { ConfigError, describeConfig, parseConfig } from './config/config.js';
import { renderHelp } from './config/docs.js';
import { type Address, formatAddress } from './config/types.js';
import type { Config } from './config/variables.js';

/** Exit codes: 0 as asked; 1 it cannot run, and stderr says why; 2 it does not know the flag. */
const FAILED = 1;
const WRONG_USE = 2;

const version = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

const FLAGS: Record<string, () => void> = {
  '--help': () => print(renderHelp(version)),
  '-h': () => print(renderHelp(version)),
  '--version': () => print(`${version}\n`),
  '--check-config': () => {
    readConfig();
    print(describeConfig(process.env));
  },
};

function main(flags: readonly string[]): void {
  // A reader of our output that goes away (`| head`) is no reason to stop.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const [flag] = flags;
  if (flag === undefined) {
    void serve(readConfig());
    return;
  }
  const action = flags.length === 1 ? FLAGS[flag] : undefined;
  if (action !== undefined) {
    action();
    return;
  }
  process.stderr.write(`unknown arguments: ${flags.join(' ')}; there are --check-config, --help and --version\n`);
  process.exitCode = WRONG_USE;
}

function readConfig(): Config {
  try {
    return parseConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`The configuration is not valid:\n${error.problems.map((problem) => `  ${problem}\n`).join('')}`);
    process.exit(FAILED);
  }
}

async function serve(config: Config): Promise<void> {
  const logger = pino({ level: config.logLevel }, destination({ fd: 2, sync: true }));
  const app = createApp(config, logger, version);
  stopOnSignals(app, logger);
  stopOnDefects(logger);
  try {
    const addresses = await app.start();
    print(welcome(addresses));
    const { grpc, http, redis } = addresses;
    logger.info({ grpcPort: grpc.port, httpPort: http.port, redis, version }, 'ready');
  } catch (error) {
    logger.fatal({ err: error }, 'cannot start');
    process.stderr.write(`stafett-server cannot start: ${(error as Error).message}\n`);
    process.exit(FAILED);
  }
}

/** The first signal stops in good order, a second one at once; an embedded Redis ends with us either way. */
function stopOnSignals(app: App, logger: Logger): void {
  let stopping = false;
  const onSignal = async (signal: NodeJS.Signals) => {
    if (stopping) {
      logger.warn({ signal }, 'second signal: stopping at once');
      process.exit(FAILED);
    }
    stopping = true;
    logger.info({ signal }, 'stopping');
    await app.stop();
    logger.info('stopped');
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal);
}

/** Nobody knows in what state the process is after one; whoever runs it starts another. */
function stopOnDefects(logger: Logger): void {
  const onDefect = (error: unknown) => {
    logger.fatal({ err: error }, 'a defect; the server ends');
    process.exit(FAILED);
  };
  process.on('uncaughtException', onDefect);
  process.on('unhandledRejection', onDefect);
}

function welcome({ grpc, http, redis, redisIsEmbedded }: Addresses): string {
  const kept = redisIsEmbedded ? 'embedded, without a disk: it forgets everything when the server ends' : redis;
  return `
Stafett ${version} is ready.

  gRPC   ${formatAddress(grpc)}
  HTTP   http://${reachable(http)}   /healthz  /readyz  /metrics
  Redis  ${kept}

Take a lock for 10 s, with no code at all; do it twice to see who is in the way:

  npx buf curl --protocol grpc --http2-prior-knowledge -d '{"names":["customer/42"],"ttl":"10s"}' \\
    http://${reachable(grpc)}/stafett.v1.LockService/Acquire

See it protect real transactions: npm run demo. A first program: README.md. Ctrl-C stops it.
`;
}

/** An address that listens everywhere is reached at this machine's own. */
function reachable(address: Address): string {
  const everywhere = address.host === '0.0.0.0' || address.host === '::';
  return formatAddress(everywhere ? { host: '127.0.0.1', port: address.port } : address);
}

function print(text: string): void {
  process.stdout.write(text);
}

main(process.argv.slice(2));
