import { freemem } from 'node:os';
import { getHeapSnapshot, getHeapStatistics } from 'node:v8';
import { type CallOffer, type CallParams, CallRefusal, type IncomingCall } from '../handler.js';
import { fileName } from './file-name.js';

/** V8 builds the whole graph before it writes the first byte: so many times what the heap uses, as an estimate. */
const MEMORY_FACTOR = 2;

/** All objects in memory, for the Memory panel of Chrome DevTools. */
export function heapSnapshot(service: string): CallOffer {
  return {
    description:
      'all objects in memory, for Chrome DevTools; the process stands still while it is taken (force=true: though memory is short)',
    privileged: true,
    exclusive: true,
    handle: (params, call) => take(service, params, call),
  };
}

async function* take(service: string, params: CallParams, call: IncomingCall) {
  checkMemory(params, { used: getHeapStatistics().used_heap_size, available: availableMemory() });
  call.start({ contentType: 'application/json', fileName: fileName(service, '.heapsnapshot') });
  call.progress(undefined, 'taking the snapshot; the process stands still');
  await breathe(call); // for the news to go out before
  const snapshot = getHeapSnapshot();
  try {
    await breathe(call); // between the two times that it stands still: walking the heap, and making a text of it
    yield* snapshot;
  } finally {
    snapshot.destroy();
  }
}

/** Lets what has come and what is to go pass: also the pings by which servers tell who is alive. */
async function breathe({ signal }: IncomingCall): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  signal.throwIfAborted();
}

/** @throws {CallRefusal} NOT_ENOUGH_MEMORY, unless the caller insists. Both in bytes. */
export function checkMemory({ force }: CallParams, { used, available }: { used: number; available: number }): void {
  const needed = used * MEMORY_FACTOR;
  if (available >= needed || force === true || force === 'true') return;
  const facts = { used_heap_bytes: used, needed_bytes: needed, available_bytes: available };
  throw new CallRefusal(
    'NOT_ENOUGH_MEMORY',
    `the heap uses ${mib(used)}, a snapshot of it takes about ${mib(needed)} more, and ${mib(available)} are available; the process could be killed. ` +
      'Make room, or send force=true',
    Object.fromEntries(Object.entries(facts).map(([name, bytes]) => [name, String(Math.round(bytes))])),
  );
}

/** What this process may still take: of its container, or of the host. */
function availableMemory(): number {
  const { availableMemory: ofNode, constrainedMemory } = process as { availableMemory?: () => number; constrainedMemory?: () => number };
  if (ofNode) return ofNode.call(process);
  const limit = constrainedMemory?.call(process) ?? 0;
  const free = freemem();
  return limit > 0 && limit < Number.MAX_SAFE_INTEGER ? Math.min(free, Math.max(0, limit - process.memoryUsage.rss())) : free;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
