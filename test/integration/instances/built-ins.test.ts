import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { Stafett } from '../../../clients/typescript/src/index.js';
import { connectClient } from '../../support/client.js';
import { eventually } from '../../support/eventually.js';
import { type CalledInstance, startInstance } from '../../support/instances.js';
import { startServer, type TestServer } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// A test may start four processes, and the machine of CI has two cores for two files of tests.
vi.setConfig({ testTimeout: 90_000 });

let server: TestServer;
let instance: CalledInstance;
let caller: Stafett;
const namespace = freshNamespace();
const ALL = {
  ...{ 'thread-dump': true, 'heap-snapshot': true, 'cpu-profile': true, 'log-level': true },
  ...{ caches: true, 'cache-invalidate': true, settings: true, 'setting-override': true },
};

beforeAll(async () => {
  server = await startServer({ env: { STAFETT_PRIVILEGED_CALLS: 'true' } });
  caller = await connectClient(server, { namespace });
  // It stands still for its snapshots, for seconds on a machine that is busy, and must not lose its session by that.
  instance = await startInstance(server, namespace, { builtIns: ALL, ttl: '30s' });
});

interface Profile {
  nodes: { id: number; callFrame: { functionName: string }; hitCount: number }[];
  samples: number[];
  startTime: number;
  endTime: number;
}

interface Snapshot {
  snapshot: { meta: { node_fields: string[]; edge_fields: string[] }; node_count: number; edge_count: number };
  nodes: number[];
  edges: number[];
  strings: string[];
}

describe('built-in calls', () => {
  test('only info and gc-stats are offered unless the instance says more', async () => {
    const plain = await startInstance(server, namespace);
    const names = async (id: string) => (await caller.instances.get(id)).calls.map(({ name }) => name);
    const privileged = (await caller.instances.get(instance.id)).calls.filter((call) => call.privileged).map(({ name }) => name);
    expect((await names(plain.id)).slice(0, 2)).toEqual(['info', 'gc-stats']);
    for (const name of Object.keys(ALL)) expect(await names(plain.id)).not.toContain(name);
    expect(privileged).toEqual([...Object.keys(ALL), 'secret']);
    const none = await startInstance(server, namespace, { builtIns: { info: false, 'gc-stats': false } });
    expect(await names(none.id)).not.toContain('info');
    expect(await names(none.id)).not.toContain('gc-stats');
  });

  test('a server refuses privileged calls unless its operator allows them', async () => {
    const careful = await startServer();
    const guarded = await startInstance(careful, namespace, { builtIns: ALL });
    const client = await connectClient(careful, { namespace });
    for (const name of Object.keys(ALL)) {
      await expect(client.instances.call(guarded.id, name).text()).rejects.toMatchObject({ reason: 'CALL_NOT_ALLOWED' });
    }
    await client.instances.call(guarded.id, 'info').json();
    expect(await caller.instances.call(instance.id, 'secret').text()).toBe('the secret');
  });

  test('info and gc-stats tell figures, neither environment nor arguments', async () => {
    const info = await caller.instances.call(instance.id, 'info').text();
    expect(JSON.parse(info)).toMatchObject({ pid: instance.pid, versions: { node: process.version } });
    expect(info).not.toContain('called-instance');
    await caller.instances.call(instance.id, 'busy', { seconds: 3 }).text();
    const progress: string[] = [];
    const stats = await caller.instances
      .call(instance.id, 'gc-stats', { seconds: 1.2 }, { onProgress: ({ message }) => progress.push(message) })
      .json<{ heap: { used_heap_size: number } }>();
    expect(stats.heap.used_heap_size).toBeGreaterThan(1_000_000);
    expect(progress[0]).toContain('0 of 1.2 s');
    await expect(caller.instances.call(instance.id, 'gc-stats', { seconds: -1 }).text()).rejects.toMatchObject({
      metadata: { cause: 'INVALID_PARAMS', param: 'seconds' },
    });
  });

  test('a thread dump begins with the stacks of JavaScript, and tells no secrets', async () => {
    await caller.instances.call(instance.id, 'busy', { seconds: 20 }).text();
    const dump = await caller.instances.call(instance.id, 'thread-dump').text();
    const [head] = dump.split('What keeps the event loop');
    expect(head).toMatch(/at spinsInCircles \(file:.*called-instance\.mjs:\d+:\d+\)/);
    expect(dump).toContain('"nodejsVersion"');
    expect(dump).not.toMatch(/environmentVariables|commandLine|networkInterfaces|"HOME"/);
  });

  test('a CPU profile names the hot function', async () => {
    await caller.instances.call(instance.id, 'busy', { seconds: 10 }).text();
    let fileName = '';
    const onStart = (info: { fileName: string }) => {
      fileName = info.fileName;
    };
    const profile = await caller.instances.call(instance.id, 'cpu-profile', { seconds: 1, intervalUs: 500 }, { onStart }).json<Profile>();
    expect(fileName).toMatch(/^called-.*-\d+-\d{8}T\d{6}Z\.cpuprofile$/);
    const idle = new Set(['(idle)', '(program)', '(garbage collector)', '(root)']);
    const hottest = profile.nodes
      .filter(({ callFrame }) => !idle.has(callFrame.functionName))
      .toSorted((a, b) => b.hitCount - a.hitCount)[0]!;
    expect(hottest.callFrame.functionName).toBe('spinsInCircles');
    expect(profile.endTime - profile.startTime).toBeGreaterThan(900_000);
  });

  test('a second dump is refused while one is taken, and a cancelled one makes room', async () => {
    const first = caller.instances.call(instance.id, 'cpu-profile', { seconds: 60 });
    const enough = new AbortController();
    const reading = caller.instances.call(instance.id, 'cpu-profile', { seconds: 60 }, { signal: enough.signal }).bytes();
    await eventually('the refusal of the second', async () => {
      const second = await first.bytes().catch((error) => error);
      return (second as { reason?: string }).reason === 'CALL_ALREADY_RUNNING';
    });
    enough.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await eventually(
      'room',
      () =>
        caller.instances
          .call(instance.id, 'cpu-profile', { seconds: 0.1 })
          .json()
          .catch(() => false),
      { timeoutMs: 2_000 },
    );
  });

  test('a heap snapshot is a whole and consistent graph', async () => {
    await caller.instances.call(instance.id, 'fill', { objects: 20_000 }).text();
    const { snapshot, nodes, edges, strings } = await caller.instances.call(instance.id, 'heap-snapshot').json<Snapshot>();
    const { node_fields: nodeFields, edge_fields: edgeFields } = snapshot.meta;
    expect(nodes.length).toBe(snapshot.node_count * nodeFields.length);
    expect(edges.length).toBe(snapshot.edge_count * edgeFields.length);
    const [edgeCount, name, toNode] = [nodeFields.indexOf('edge_count'), nodeFields.indexOf('name'), edgeFields.indexOf('to_node')];
    let counted = 0;
    let wrong = 0;
    for (let i = 0; i < nodes.length; i += nodeFields.length) {
      counted += nodes[i + edgeCount]!;
      if (nodes[i + name]! >= strings.length) wrong++;
    }
    for (let i = toNode; i < edges.length; i += edgeFields.length)
      if (edges[i]! % nodeFields.length > 0 || edges[i]! >= nodes.length) wrong++;
    expect([counted, wrong]).toEqual([snapshot.edge_count, 0]);
    expect(snapshot.node_count).toBeGreaterThan(20_000);
  });

  test('a second heap snapshot is refused while one is read', async () => {
    const first = caller.instances.call(instance.id, 'heap-snapshot')[Symbol.asyncIterator]();
    await first.next();
    await expect(caller.instances.call(instance.id, 'heap-snapshot').bytes()).rejects.toMatchObject({ reason: 'CALL_ALREADY_RUNNING' });
    await first.return(undefined);
  });

  test('a heap snapshot is refused, with the figures, where memory is short', async () => {
    const { checkMemory } = await import('../../../clients/typescript/src/instances/built-ins/heap-snapshot.js');
    expect(() => checkMemory({}, { used: 2 ** 30, available: 2 ** 30 })).toThrow(
      /the heap uses 1024 MiB.*about 2048 MiB more.*1024 MiB are available/s,
    );
    checkMemory({ force: 'true' }, { used: 2 ** 30, available: 2 ** 30 });
    checkMemory({}, { used: 2 ** 30, available: 2 ** 31 });
  });

  test('the level of the log is shown and changed', async () => {
    const level = (params = {}) => caller.instances.call(instance.id, 'log-level', params);
    expect(await level().json()).toEqual({ level: 'info' });
    expect(await level({ level: 'debug' }).json()).toEqual({ level: 'debug', before: 'info' });
    await expect(level({ level: 'loud' }).json()).rejects.toMatchObject({ metadata: { cause: 'INVALID_PARAMS', param: 'level' } });
    expect(await level().json()).toEqual({ level: 'debug' });
  });
});
