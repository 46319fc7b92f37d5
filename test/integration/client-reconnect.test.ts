import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect, type SessionState, type Stafett } from '../../clients/typescript/src/index.js';
import { connectClient, freed, gate, holder, queued } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { plainEnv, startProcess } from '../support/process.js';
import { startServer, startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

let stack: TestStack;
/** For tests that leave it as it is. */
let server: TestServer;
let namespace: string;

beforeAll(async () => {
  stack = await startStack();
  ({ server } = stack);
});

beforeEach(() => {
  namespace = freshNamespace();
});

function statesOf({ session }: Stafett): SessionState[] {
  const states: SessionState[] = [];
  session.onStateChange((state) => states.push(state));
  return states;
}

describe('a server that is killed', () => {
  test('and started again at the same address: locks, places in queues and sessions go on', async () => {
    const mortal = await stack.addServer();
    const [one, two] = [await connectClient(mortal, { namespace }), await connectClient(mortal, { namespace })];
    const { id } = one.session;
    const states = statesOf(one);
    const lock = await one.locks.acquire('a');
    const order: number[] = [];
    const waits: Promise<unknown>[] = [];
    for (const [i, client] of [two, one, two, one].entries()) {
      waits.push(client.locks.run('a', () => order.push(i)));
      await queued(one, 'a', i + 1);
    }
    await mortal.kill('SIGKILL');
    await eventually('the loss to be noticed', () => states.includes('SUSPENDED'));
    lock.assertHeld();
    const inTheMeantime = one.locks.run('b', () => 'done'); // asked while there is nobody
    const [again] = await Promise.all([startServer({ redis: stack.redis, grpcPort: mortal.grpcPort }), lock.release()]);
    expect(await inTheMeantime).toBe('done');
    await Promise.all(waits);
    expect(order).toEqual([0, 1, 2, 3]);
    expect(one.session.id).toBe(id);
    expect(states).toEqual(['SUSPENDED', 'CONNECTED']);
    expect(again.grpcPort).toBe(mortal.grpcPort);
  });

  test('under load: nothing is lost, nothing stays behind', async () => {
    const mortal = await stack.addServer();
    const client = await connectClient([mortal, server], { namespace });
    const counts = new Map<string, number>();
    let inside = 0;
    let stop = false;
    const worker = async (i: number) => {
      const name = `n${i % 5}`;
      while (!stop) {
        await client.locks.run([name, `own/${i}`], async () => {
          expect(++inside).toBeLessThanOrEqual(5);
          const before = counts.get(name) ?? 0;
          await new Promise(setImmediate);
          counts.set(name, before + 1);
          inside--;
        });
      }
    };
    const workers = Array.from({ length: 20 }, (_, i) => worker(i));
    const total = () => [...counts.values()].reduce((sum, count) => sum + count, 0);
    await eventually('some work', () => total() > 200);
    await mortal.kill('SIGKILL');
    const before = total();
    await eventually('more work', () => total() > before + 200);
    stop = true;
    await Promise.all(workers);
    for await (const view of client.locks.list({ activeOnly: true })) expect(view.holder).toBeUndefined();
  });
});

describe('a server that stops in good order', () => {
  test('clients move to another one: nobody notices', async () => {
    const leaving = await stack.addServer({ env: { STAFETT_DRAIN_TIMEOUT: '60s' } }); // it can only end before if the client goes
    const spare = await startTcpProxy({ port: server.grpcPort });
    spare.refuse();
    const client = await connectClient([leaving, spare], { namespace, ttl: '10s' });
    await spare.accept();
    const lock = await client.locks.acquire('a');
    const waits = client.locks.acquire('a');
    await queued(client, 'a', 1);
    const ended = leaving.stop();
    await eventually(
      'the client to have moved',
      async () => (await client.locks.get('a')).waiterCount === 1 && client.session.state === 'CONNECTED',
    );
    await lock.release();
    await (await waits).release();
    expect(await ended).toMatchObject({ code: 0 });
    await client.locks.run('a', () => {});
  });
});

describe('a connection that breaks', () => {
  test('abort of a waiter while nobody is there: it does not come back, and holds nobody up', async () => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const [client, other] = [await connectClient(proxy, { namespace }), await connectClient(server, { namespace })];
    const lock = await other.locks.acquire('a');
    const controller = new AbortController();
    const waits = client.locks.acquire('a', { signal: controller.signal });
    await queued(other, 'a', 1);
    proxy.refuse();
    proxy.cut();
    await eventually('the loss to be noticed', () => client.session.state === 'SUSPENDED');
    controller.abort(new Error('enough'));
    await expect(waits).rejects.toThrow('enough');
    await lock.release(); // grants it to the one who is not there
    await proxy.accept();
    await freed(other, 'a');
  });

  test('an answer that is lost on the way is asked for again: the lock is the one that was granted', async () => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const [client, other] = [await connectClient(proxy, { namespace }), await connectClient(server, { namespace })];
    proxy.pause('down');
    const acquired = client.locks.acquire('a');
    const { fencingToken } = await holder(other, 'a');
    proxy.cut();
    proxy.resume();
    const lock = await acquired;
    expect(lock.fencingToken).toBe(fencingToken);
    await lock.release();
    expect((await other.locks.get('a')).history).toHaveLength(1);
  });

  test('who gives up while the answer is lost leaves nothing behind', async () => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const [client, other] = [await connectClient(proxy, { namespace, offlineTimeout: 1 }), await connectClient(server, { namespace })];
    proxy.pause('down');
    const acquired = client.locks.acquire('a');
    await holder(other, 'a');
    proxy.refuse();
    proxy.cut();
    await expect(acquired).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'CONNECTION_FAILED' });
    proxy.resume();
    await proxy.accept();
    await freed(other, 'a');
  });

  test('a try gives up a few seconds after its time', async () => {
    const proxy = await startTcpProxy({ port: server.grpcPort });
    const client = await connectClient(proxy, { namespace });
    proxy.refuse();
    proxy.cut();
    await eventually('the loss to be noticed', () => client.session.state === 'SUSPENDED');
    const began = performance.now();
    const patient = client.locks.acquire('a');
    await expect(client.locks.tryRun('a', () => 'never', { waitTimeout: 100 })).rejects.toMatchObject({ reason: 'CONNECTION_FAILED' });
    expect(performance.now() - began).toBeGreaterThan(5_000);
    await proxy.accept();
    await (await patient).release(); // without a timeout there is no end to patience
  });

  test('one that stands still is replaced by one to another server, and the session goes on', async () => {
    const other = await stack.addServer();
    const [bad, good] = [await startTcpProxy({ port: server.grpcPort }), await startTcpProxy({ port: other.grpcPort })];
    good.refuse();
    const client = await connectClient([bad, good], { namespace, ttl: '3s' });
    await good.accept();
    const { id } = client.session;
    const states = statesOf(client);
    const lock = await client.locks.acquire('a');
    bad.pause();
    await eventually('the other server', () => states.includes('CONNECTED'));
    expect(states).toEqual(['SUSPENDED', 'CONNECTED']);
    expect(client.session.id).toBe(id);
    lock.assertHeld();
    await lock.release();
  });
});

describe('connect', () => {
  test('tries one server after the other', async () => {
    const client = await connectClient([{ address: `127.0.0.1:${await freePort()}` }, server], { namespace });
    await client.locks.run('a', () => {});
  });

  test('waits for a server that is not there yet', async () => {
    const port = await freePort();
    const connecting = connectClient({ address: `127.0.0.1:${port}` }, { namespace });
    await startServer({ redis: stack.redis, grpcPort: port });
    await (await connecting).locks.run('a', () => {});
  });

  test('gives up after the timeout, and says why', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    await expect(connect(address, { connectTimeout: 300 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      reason: 'CONNECTION_FAILED',
      message: expect.stringContaining(address),
    });
  });

  test('gives up at an abort', async () => {
    const reason = new Error('enough');
    await expect(connect(server.address, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const connecting = connect(`127.0.0.1:${await freePort()}`, { signal: controller.signal });
    controller.abort(reason);
    await expect(connecting).rejects.toBe(reason);
  });

  test.each([
    [{ ttl: '1h' }, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', metadata: { field: 'ttl' } }],
    [{ namespace: 'not a namespace' }, { code: 'INVALID_ARGUMENT', reason: 'INVALID_NAMESPACE' }],
  ])('%j is refused by the server at once', async (options, error) => {
    const began = performance.now();
    await expect(connect(server.address, options)).rejects.toMatchObject(error);
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  test('an address that is none is refused', async () => {
    await expect(connect('', {})).rejects.toThrow(TypeError);
    await expect(connect('not an address', { connectTimeout: 500 })).rejects.toThrow();
  });
});

describe('close', () => {
  test('gives everything back at once, aborts signals, refuses who waits and who comes', async () => {
    const [client, other] = [await connectClient(server, { namespace }), await connectClient(server, { namespace })];
    const lock = await client.locks.acquire('a');
    const { signal } = lock;
    const { signal: sessionSignal } = client.session;
    const waits = client.locks.acquire('a');
    const refused = expect(waits).rejects.toMatchObject({ code: 'CANCELLED', reason: 'CLOSED' });
    const next = other.locks.acquire('a');
    await queued(other, 'a', 2);
    await Promise.all([client.close(), client.close()]);
    expect(signal.reason).toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'CLOSED' } });
    expect(sessionSignal.reason).toMatchObject({ reason: 'CLOSED' });
    await refused;
    await (await next).release();
    const { history } = await other.locks.get('a');
    expect(history[1]).toMatchObject({ endReason: 'SESSION_CLOSED', fencingToken: lock.fencingToken });
    for (const call of [
      client.locks.run('a', () => {}),
      client.locks.tryRun('a', () => {}),
      client.locks.get('a'),
      client.locks.watch('a').next(),
    ]) {
      await expect(call).rejects.toMatchObject({ reason: 'CLOSED' });
    }
    await expect(lock.release()).rejects.toMatchObject({ reason: 'LOCK_LOST' });
    expect(client.session.state).toBe('LOST');
  });

  test('while work runs: its run says LOCK_LOST', async () => {
    const client = await connectClient(server, { namespace });
    const { opened, open } = gate();
    const run = client.locks.run('a', () => opened);
    const refused = expect(run).rejects.toMatchObject({ reason: 'LOCK_LOST', cause: { reason: 'CLOSED' } });
    await holder(client, 'a');
    await client.close();
    open();
    await refused;
  });

  test('takes no longer than 2 s when the server stands still, and no time when there is none', async () => {
    const mortal = await stack.addServer();
    const [stuck, alone] = [await connectClient(mortal, { namespace }), await connectClient(mortal, { namespace })];
    mortal.pause();
    const began = performance.now();
    await stuck.close();
    expect(performance.now() - began).toBeLessThan(4_000);
    await mortal.kill('SIGKILL');
    await eventually('the loss to be noticed', () => alone.session.state !== 'CONNECTED');
    await alone.close();
  });

  test('lets the process end; until then the client keeps it alive', async () => {
    const program = `
      import { connect } from ${JSON.stringify(new URL('../../clients/typescript/src/index.ts', import.meta.url).href)};
      const stafett = await connect(${JSON.stringify(server.address)});
      await stafett.locks.run('a', () => {});
      setTimeout(() => console.log('still there') ?? stafett.close(), 300).unref();
    `;
    const child = startProcess(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], plainEnv());
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect([child.stdout(), child.stderr()]).toEqual(['still there\n', '']);
  });
});
