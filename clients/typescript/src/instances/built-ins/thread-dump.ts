import { setTimeout as sleep } from 'node:timers/promises';
import { type CallOffer, type CallParams, type IncomingCall, numberParam } from '../handler.js';
import { fileName } from './file-name.js';
import { profile } from './profiler.js';
import { hotStacks } from './stacks.js';

const SAMPLE_MS_DEFAULT = 500;
const SAMPLE_MS_MAX = 30_000;
const INTERVAL_US = 1_000;
const STACKS_MAX = 10;

/** Parts of Node's diagnostic report: those that a reader needs, and none that is known for secrets. */
interface Report {
  readonly header?: Record<string, unknown>;
  readonly javascriptStack?: Stack;
  readonly nativeStack?: readonly { readonly pc: string; readonly symbol: string }[];
  readonly libuv?: readonly Record<string, unknown>[];
  readonly workers?: readonly Report[];
  readonly [part: string]: unknown;
}

interface Stack {
  readonly message?: string;
  readonly stack?: readonly string[];
}

/** Node's diagnostic report, without environment and arguments, with the stacks of JavaScript on top. */
export function threadDump(service: string): CallOffer {
  return {
    description: `JavaScript stacks, what keeps the event loop, Node's report (sampleMs, default ${SAMPLE_MS_DEFAULT})`,
    privileged: true,
    exclusive: true,
    handle: (params, call) => dump(service, params, call),
  };
}

async function* dump(service: string, params: CallParams, call: IncomingCall) {
  const sampleMs = numberParam(params, 'sampleMs', SAMPLE_MS_DEFAULT, 1, SAMPLE_MS_MAX);
  call.start({ contentType: 'text/plain; charset=utf-8', fileName: fileName(service, '.threads.txt') });
  call.progress(0, `sampling the main thread for ${sampleMs} ms`);
  const sampled = await profile(INTERVAL_US, () => sleep(sampleMs, undefined, { signal: call.signal }));
  const report = toReport();
  yield `Thread dump of ${service}, process ${process.pid}, ${new Date().toISOString()}, Node ${process.version}\n\n`;
  yield `JavaScript, main thread: where it was in ${sampleMs} ms, most often first\n\n${hotStacks(sampled, STACKS_MAX)}\n`;
  for (const [i, worker] of (report.workers ?? []).entries())
    yield `JavaScript, worker ${i + 1}\n\n${describeStack(worker.javascriptStack)}\n`;
  yield `What keeps the event loop\n\n${describeHandles(report.libuv ?? [])}\n`;
  yield `Native stack\n\n${(report.nativeStack ?? []).map(({ symbol }) => `    ${symbol}`).join('\n')}\n\n`;
  yield `Node's diagnostic report\n\n${JSON.stringify(report, undefined, 2)}\n`;
}

/** Environment, arguments and addresses of others are left out. */
function toReport(): Report {
  const reporter = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  reporter.excludeNetwork = true; // else it asks the name server about each connection, and waits
  return strip(reporter.getReport() as unknown as Report);
}

function strip({ environmentVariables: _, header = {}, workers, ...rest }: Report): Report {
  const { commandLine: _arguments, networkInterfaces: _interfaces, ...facts } = header;
  return { header: facts, ...rest, ...(workers && { workers: workers.map(strip) }) };
}

function describeStack({ message = '', stack = [] }: Stack = {}): string {
  return `${[message, ...stack].filter(Boolean).join('\n    ')}\n`;
}

function describeHandles(handles: readonly Record<string, unknown>[]): string {
  return handles
    .filter(({ is_active: active }) => active)
    .map(({ type, is_referenced: referenced, repeat, firesInMsFromNow, localEndpoint, remoteEndpoint, fd }) => {
      const facts = { referenced, repeat, firesInMsFromNow, fd, local: endpoint(localEndpoint), remote: endpoint(remoteEndpoint) };
      const told = Object.entries(facts).filter(([, value]) => value !== undefined);
      return `    ${type} ${told.map(([name, value]) => `${name}=${value}`).join(' ')}`;
    })
    .join('\n')
    .concat('\n');
}

function endpoint(value: unknown): string | undefined {
  const { ip4, ip6, port } = (value ?? {}) as { ip4?: string; ip6?: string; port?: number };
  return port === undefined ? undefined : `${ip4 ?? ip6 ?? ''}:${port}`;
}
