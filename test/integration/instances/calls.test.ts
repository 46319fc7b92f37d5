import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { BLOCK, type CalledInstance, connected, rssMib, sha256OfBlocks, startInstance } from '../../support/instances.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// A test may start four processes, and the machine of CI has two cores for two files of tests.
vi.setConfig({ testTimeout: 90_000 });

let stack: TestStack;
let other: TestServer;
const namespace = freshNamespace();
let instance: CalledInstance;
/** Asks the server that has not got the instance. */
let caller: Stafett;

beforeAll(async () => {
  stack = await startStack();
  other = await stack.addServer();
  instance = await startInstance(stack.server, namespace);
  caller = await connectClient(other, { namespace });
});

/** What the instance has given away so far. */
async function given(): Promise<number> {
  return (await caller.instances.call(instance.id, 'given').json<{ given: number }>()).given;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** How often `endless` has come to its end. */
function stops(): number {
  return instance.stdout().match(/^stopped true$/gm)?.length ?? 0;
}

// First of all: what a process takes on with its first megabytes counts, too.
describe('a large answer', () => {
  const mib = Number(process.env.STAFETT_TEST_DUMP_MIB ?? 512);

  test(`of ${mib} MiB, the first one, comes through two servers as it was sent, and leaves them as they were`, async () => {
    for (let i = 0; i < 20; i++) await caller.instances.call(instance.id, 'echo').json();
    const servers = [stack.server.pid, other.pid];
    const before = servers.map(rssMib);
    const most = [...before];
    const look = () => {
      for (const [i, pid] of servers.entries()) most[i] = Math.max(most[i]!, rssMib(pid));
    };
    const timer = setInterval(look, 50);
    const hash = createHash('sha256');
    for await (const chunk of caller.instances.call(instance.id, 'big', { mib })) hash.update(chunk);
    clearInterval(timer);
    const growth = most.map((each, i) => each - before[i]!);
    console.log(`${mib} MiB: the servers grew by ${growth.map((each) => each.toFixed(1)).join(' and ')} MiB`);
    expect(hash.digest('hex')).toBe(sha256OfBlocks(mib * 16));
    expect(Math.max(...growth)).toBeLessThan(20);
  }, 300_000);
});

describe('a call', () => {
  test('is answered, through another server and through its own', async () => {
    const near = await connectClient(stack.server, { namespace });
    for (const client of [caller, near]) {
      expect(await client.instances.call(instance.id, 'echo', { a: 1, ü: 'ø' }).json()).toEqual({ a: 1, ü: 'ø' });
      expect(await client.instances.call(instance.id, 'lines').text()).toBe('{"i":0}\n{"i":1}\n{"i":2}\n');
    }
  });

  test('tells what the answer is', async () => {
    const starts: unknown[] = [];
    await caller.instances.call(instance.id, 'big', { mib: 1 }, { onStart: (info) => starts.push(info) }).bytes();
    expect(starts).toEqual([{ contentType: 'application/octet-stream', fileName: 'bæ/g.bin', totalBytes: 2 ** 20 }]);
  });

  test('that fails says why', async () => {
    const fails = (name: string) => caller.instances.call(instance.id, name).text();
    await expect(fails('fail')).rejects.toMatchObject({
      code: 'UNKNOWN',
      reason: 'CALL_FAILED',
      message: expect.stringContaining('no luck'),
      metadata: { cause: 'HANDLER_FAILED' },
    });
    await expect(fails('refuse')).rejects.toMatchObject({ reason: 'CALL_FAILED', metadata: { cause: 'OUT_OF_INK', color: 'black' } });
  });

  test.each([
    ['an instance that is not there', 'nobody', 'echo', {}, { code: 'NOT_FOUND', reason: 'INSTANCE_NOT_FOUND' }],
    ['an id that is none', 'no id', 'echo', {}, { code: 'NOT_FOUND', reason: 'INSTANCE_NOT_FOUND' }],
    ['a call that is not offered', undefined, 'nonsense', {}, { code: 'NOT_FOUND', reason: 'CALL_NOT_FOUND' }],
    ['a dump that is not offered', undefined, 'heap-snapshot', {}, { code: 'NOT_FOUND', reason: 'CALL_NOT_FOUND' }],
    ['a name that is none', undefined, 'a/b', {}, { code: 'INVALID_ARGUMENT', metadata: { field: 'name' } }],
    ['too many parameters', undefined, 'echo', { a: 'x'.repeat(70_000) }, { code: 'INVALID_ARGUMENT', metadata: { field: 'params' } }],
    ['a privileged call', undefined, 'secret', {}, { code: 'PERMISSION_DENIED', reason: 'CALL_NOT_ALLOWED' }],
  ])('%s is refused', async (_, id, name, params, error) => {
    await expect(caller.instances.call(id ?? instance.id, name, params).text()).rejects.toMatchObject(error);
  });

  test('ends at its timeout, and the instance with it', async () => {
    const before = stops();
    await expect(caller.instances.call(instance.id, 'endless', {}, { timeout: 300 }).bytes()).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      reason: 'CALL_TIMEOUT',
    });
    await eventually('the instance to stop', () => stops() > before, { timeoutMs: 1_000 });
    await expect(caller.instances.call(instance.id, 'hang', {}, { timeout: 200 }).text()).rejects.toMatchObject({ reason: 'CALL_TIMEOUT' });
    await eventually('the handler to be told', () => instance.stdout().includes('gave up'), { timeoutMs: 1_000 });
  });

  test('that is exclusive runs once at a time', async () => {
    const running = caller.instances.call(instance.id, 'alone')[Symbol.asyncIterator]();
    await running.next();
    await expect(caller.instances.call(instance.id, 'alone').text()).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'CALL_ALREADY_RUNNING',
    });
    await running.return(undefined);
    await eventually('the next one', async () => {
      const next = caller.instances.call(instance.id, 'alone')[Symbol.asyncIterator]();
      await next.next();
      await next.return(undefined);
      return true;
    });
  });
});

describe('a reader', () => {
  test('that does not read stops the instance, and costs the servers nothing', async () => {
    const before = await given();
    const slow = caller.instances.call(instance.id, 'endless')[Symbol.asyncIterator]();
    await slow.next();
    let last = -1;
    const standsStill = async () => {
      const [before, now] = [last, await given()];
      last = now;
      return before === now;
    };
    await eventually('the instance to stand still', standsStill, { intervalMs: 300 });
    // The servers' window, and what the caller's own gRPC library reads ahead: 16 messages, and its sockets.
    expect(last - before).toBeLessThan((6 + 16 + 10) * BLOCK);
    await slow.next();
    await slow.return(undefined);
  });

  test('that goes away half-way stops the instance within a second', async () => {
    const before = stops();
    let bytes = 0;
    for await (const chunk of caller.instances.call(instance.id, 'endless')) {
      bytes += chunk.length;
      if (bytes > 4 * 2 ** 20) break;
    }
    await eventually('the instance to stop', () => stops() > before, { timeoutMs: 1_000 });
  });

  test('that aborts gets the reason of its signal', async () => {
    const before = stops();
    const enough = new AbortController();
    const reading = caller.instances.call(instance.id, 'endless', {}, { signal: enough.signal }).bytes();
    setTimeout(() => enough.abort(new Error('enough')), 200);
    await expect(reading).rejects.toThrow('enough');
    await eventually('the instance to stop', () => stops() > before, { timeoutMs: 1_000 });
  });

  test('among 50 at once gets what is meant for it', async () => {
    const ask = (i: number) =>
      caller.instances.call(instance.id, 'echo', { i, text: String(i).repeat(20_000) }).json<{ i: number; text: string }>();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(i)));
    expect(answers.filter(({ i, text }, n) => i !== n || text !== String(n).repeat(20_000))).toEqual([]);
    const hashes = Array.from({ length: 50 }, async () => sha256(await caller.instances.call(instance.id, 'big', { mib: 0.25 }).bytes()));
    expect(new Set(await Promise.all(hashes))).toEqual(new Set([sha256OfBlocks(4)]));
  });

  test('beyond the limit is refused', async () => {
    const readers = Array.from({ length: 64 }, () => caller.instances.call(instance.id, 'endless')[Symbol.asyncIterator]());
    await Promise.all(readers.map((reader) => reader.next()));
    await expect(caller.instances.call(instance.id, 'echo').text()).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'TOO_MANY_CALLS',
    });
    await Promise.all(readers.map((reader) => reader.return(undefined)));
    await eventually('room', () => caller.instances.call(instance.id, 'echo').json());
  });
});

describe('what dies in the middle', () => {
  let mortal: TestServer;
  let reader: AsyncGenerator<Buffer, void, undefined>;
  let doomed: CalledInstance;
  let client: Stafett;
  let own: string;

  beforeEach(async () => {
    own = freshNamespace();
    mortal = await stack.addServer();
    doomed = await startInstance([mortal, stack.server], own, { ttl: '2s' });
    client = await connectClient(other, { namespace: own });
    reader = client.instances.call(doomed.id, 'endless')[Symbol.asyncIterator]();
    await reader.next();
  });

  async function readOn(): Promise<unknown> {
    try {
      while (!(await reader.next()).done);
    } catch (error) {
      return error;
    }
    return undefined;
  }

  test('the instance: the caller is told at once, and within the TTL nobody lists it', async () => {
    const reading = readOn();
    await doomed.kill('SIGKILL');
    const began = performance.now();
    expect(await reading).toMatchObject({ code: 'ABORTED', reason: 'INSTANCE_LOST' });
    expect(performance.now() - began).toBeLessThan(1_500);
    await expect(client.instances.call(doomed.id, 'echo').text()).rejects.toMatchObject({
      reason: expect.stringMatching(/^INSTANCE_(UNREACHABLE|NOT_FOUND)$/),
    });
    await eventually(
      'it to be gone',
      async () => {
        for await (const _ of client.instances.list()) return false;
        return true;
      },
      { timeoutMs: 3_500 },
    );
    await expect(client.instances.get(doomed.id)).rejects.toMatchObject({ reason: 'INSTANCE_NOT_FOUND' });
  });

  test('the server that has the instance: the caller is told at once, and the instance is back within 2 s, at another server', async () => {
    const reading = readOn();
    await mortal.kill('SIGKILL');
    const began = performance.now();
    expect(await reading).toMatchObject({ code: 'ABORTED', reason: 'INSTANCE_LOST' });
    await eventually(
      'a call to be answered',
      () =>
        client.instances
          .call(doomed.id, 'echo')
          .json()
          .catch(() => false),
      { timeoutMs: 5_000 },
    );
    expect(performance.now() - began).toBeLessThan(2_000);
    await eventually('the instance to have stopped', () => doomed.stdout().includes('stopped true'), { timeoutMs: 1_000 });
    await connected(client, doomed.id);
  });

  test('the server that was asked: both sides end', async () => {
    const asked = await stack.addServer();
    const caller = await connectClient(asked, { namespace: own });
    await reader.return(undefined);
    await eventually('the first reader’s end', () => doomed.stdout().includes('stopped true'));
    const before = doomed.stdout().length;
    reader = caller.instances.call(doomed.id, 'endless')[Symbol.asyncIterator]();
    await reader.next();
    const reading = readOn();
    await asked.kill('SIGKILL');
    expect(await reading).toMatchObject({ code: 'DATA_LOSS', reason: 'ANSWER_INCOMPLETE' });
    await eventually('the instance to stop', () => doomed.stdout().slice(before).includes('stopped true'), { timeoutMs: 1_000 });
  });

  test('a server that stops in good order: the instance goes on at another one', async () => {
    const reading = readOn();
    await mortal.stop();
    expect(await reading).toMatchObject({ code: 'ABORTED', reason: 'INSTANCE_LOST' });
    await connected(client, doomed.id, 2_000);
    expect(await client.instances.call(doomed.id, 'echo', { a: 1 }).json()).toEqual({ a: 1 });
  });
});
