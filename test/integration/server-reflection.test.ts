import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { startServer, type TestServer } from '../support/stack.js';

const BUF = fileURLToPath(new URL('../../node_modules/.bin/buf', import.meta.url));

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});

/** What a newcomer types, with no code and no files of ours. */
async function curl(method: string, request: unknown, ...flags: string[]): Promise<Record<string, unknown>> {
  const url = `http://${server.address}/${method}`;
  const args = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', ...flags, '-d', JSON.stringify(request), url];
  const { stdout } = await promisify(execFile)(BUF, args, { cwd: '/' }).catch((error: { stderr: string }) => ({ stdout: error.stderr }));
  return JSON.parse(stdout);
}

describe('buf curl, by reflection alone', () => {
  it('lists the services', async () => {
    const args = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--list-services', `http://${server.address}`];
    const { stdout } = await promisify(execFile)(BUF, args, { cwd: '/' });
    const some = ['grpc.health.v1.Health', 'stafett.v1.LockService', 'stafett.v1.ProcessService', 'stafett.v1.SessionService'];
    expect(stdout.trim().split('\n')).toEqual(expect.arrayContaining(some));
  });

  it('asks for the health', async () => {
    expect(await curl('grpc.health.v1.Health/Check', { service: 'stafett.v1.LockService' })).toEqual({ status: 'SERVING' });
  });

  it('takes a lock, and then sees who is in the way', async () => {
    const request = { names: ['customer/42'], ttl: '10s', owner: { host: 'node-1' } };
    expect(await curl('stafett.v1.LockService/Acquire', request)).toMatchObject({ grant: { names: ['customer/42'], ttl: '10s' } });
    const blocker = { name: 'customer/42', holder: { owner: { host: 'node-1' } } };
    expect(await curl('stafett.v1.LockService/Acquire', request)).toMatchObject({ contention: { blockers: [blocker] } });
  });

  it('is told what is wrong', async () => {
    const flags = ['-H', 'stafett-namespace: not one'];
    expect(await curl('stafett.v1.LockService/ListLocks', {}, ...flags)).toMatchObject({
      code: 'invalid_argument',
      details: [{ type: 'google.rpc.ErrorInfo' }],
    });
  });
});
