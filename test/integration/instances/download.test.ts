import { createHash } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { type CalledInstance, sha256OfBlocks, startInstance } from '../../support/instances.js';
import { metric } from '../../support/slow-reader.js';
import { startStack, type TestServer, type TestStack } from '../../support/stack.js';
import { freshNamespace } from '../../support/stub-stack.js';

// A test may start four processes, and the machine of CI has two cores for two files of tests.
vi.setConfig({ testTimeout: 90_000 });

let stack: TestStack;
let other: TestServer;
let instance: CalledInstance;
const namespace = freshNamespace();

beforeAll(async () => {
  stack = await startStack({ env: { STAFETT_PRIVILEGED_CALLS: 'true' } });
  other = await stack.addServer();
  instance = await startInstance(stack.server, namespace, { builtIns: { 'cpu-profile': true } });
});

/** Through the server that has not got the instance. */
function url(name: string, query: Record<string, string> = {}, id = instance.id): string {
  return `http://${other.httpAddress}/v1/instances/${id}/calls/${name}?${new URLSearchParams({ namespace, ...query })}`;
}

function request(address: string, headers = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get(address, { headers }, resolve).on('error', reject));
}

describe('GET /v1/instances/{id}/calls/{name}', () => {
  test('is a file with a name and a length', async () => {
    const response = await fetch(url('big', { mib: '4' }));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-disposition')).toBe(`attachment; filename="g.bin"; filename*=UTF-8''g.bin`);
    expect(response.headers.get('content-length')).toBe(String(4 * 2 ** 20));
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256OfBlocks(64));
  });

  test('without a length it has the checksum at its end', async () => {
    const response = await request(url('lines'));
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks);
    expect(text.toString()).toBe('{"i":0}\n{"i":1}\n{"i":2}\n');
    expect(response.headers['content-type']).toBe('application/x-ndjson');
    expect(response.trailers['stafett-sha256']).toBe(createHash('sha256').update(text).digest('hex'));
  });

  test('hands the query to the call, POST its body', async () => {
    expect(await (await fetch(url('echo', { a: '1' }))).json()).toEqual({ a: '1' });
    const headers = { 'content-type': 'application/json' };
    const posted = await fetch(url('echo'), { method: 'POST', headers, body: JSON.stringify({ a: { b: 1 } }) });
    expect(await posted.json()).toEqual({ a: { b: 1 } });
  });

  test('a profile is named so that DevTools opens it', async () => {
    const response = await fetch(url('cpu-profile', { seconds: '0.2' }));
    expect(response.headers.get('content-disposition')).toMatch(/filename="called-.*\.cpuprofile"/);
    expect(await response.json()).toHaveProperty('nodes');
  });

  test('a reader that goes away, or does not read, stops the instance', async () => {
    const response = await request(url('endless'));
    await new Promise((resolve) => response.once('data', resolve));
    response.pause();
    const given = async () => ((await (await fetch(url('given'))).json()) as { given: number }).given;
    let last = -1;
    const standsStill = async () => {
      const [before, now] = [last, await given()];
      last = now;
      return before === now;
    };
    await eventually('the instance to stand still', standsStill, { intervalMs: 300 });
    response.destroy();
    await eventually('the instance to stop', () => instance.stdout().includes('stopped true'), { timeoutMs: 1_000 });
    expect(other.logs().filter(({ level }) => level === 50)).toEqual([]);
  });

  test('an instance that dies in the middle breaks the connection, so that nobody takes a part for the whole', async () => {
    const doomed = await startInstance(stack.server, namespace, { ttl: '2s' });
    const response = await request(url('endless', {}, doomed.id));
    const reading = (async () => {
      for await (const _ of response);
    })();
    const broken = expect(reading).rejects.toThrow();
    await doomed.kill('SIGKILL');
    await broken;
  });

  test.each([
    ['an unknown id', () => url('echo', {}, 'nobody'), 404, 'INSTANCE_NOT_FOUND'],
    ['an unknown call', () => url('nonsense'), 404, 'CALL_NOT_FOUND'],
    ['a handler that fails', () => url('fail'), 502, 'CALL_FAILED'],
    ['a namespace that is none', () => url('echo').replace(namespace, 'a%20b'), 400, 'INVALID_NAMESPACE'],
    ['a timeout that is none', () => url('echo', { timeout: 'soon' }), 400, 'INVALID_FIELD'],
    ['a timeout that passes', () => url('hang', { timeout: '0.2' }).replace('hang', 'cpu-profile'), 504, 'CALL_TIMEOUT'],
  ])('%s is told as a page', async (_, address, status, reason) => {
    const response = await fetch(address());
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ reason, error: expect.any(String) });
  });

  test('the page of another site is refused', async () => {
    const response = await request(url('echo'), { 'sec-fetch-site': 'cross-site' });
    response.resume();
    expect(response.statusCode).toBe(403);
  });

  test('a server that stops says so to those that it has told nothing yet', async () => {
    const mortal = await stack.addServer();
    const address = url('cpu-profile', { seconds: '60' }).replace(other.httpAddress, mortal.httpAddress);
    const underWay = fetch(address);
    await eventually('the call to be under way', async () => (await metric(mortal, 'stafett_instance_calls_running')) === 1);
    const ended = mortal.kill('SIGTERM');
    const response = await underWay;
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ reason: 'SHUTTING_DOWN' });
    await ended;
    expect(mortal.logs().filter(({ level }) => level === 50)).toEqual([]);
  });
});
