import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { runServer } from '../support/server-checks.js';

describe('stafett-server', () => {
  it('--version and --help tell, on stdout', async () => {
    expect(await runServer(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
    expect(await runServer(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('STAFETT_GRPC_ADDRESS'), stderr: '' });
  });

  it('refuses flags that it does not know', async () => {
    expect(await runServer(['--port', '1'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--check-config') });
  });

  it('--check-config shows what is in force, without passwords', async () => {
    const { code, stdout } = await runServer(['--check-config'], { REDIS_URL: 'redis://u:geheim@h:1/2', STAFETT_MAX_TTL: '20s' });
    expect(code).toBe(0);
    expect(stdout).toContain('REDIS_URL=redis://u:***@h:1/2\n');
    expect(stdout).toContain('STAFETT_MAX_TTL=20s\n');
    expect(stdout).toContain('STAFETT_DRAIN_TIMEOUT=10s  # default\n');
  });

  it.each([[['--check-config']], [[]]])('%j names all wrong values and ends', async (args) => {
    const env = { STAFETT_MAX_TTL: 'soon', STAFETT_HTTP_ADDRES: '127.0.0.1:0', STAFETT_GRPC_ADDRESS: '0.0.0.0:0' };
    const { code, stdout, stderr } = await runServer(args, env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('STAFETT_MAX_TTL="soon": must be a duration');
    expect(stderr).toContain('did you mean STAFETT_HTTP_ADDRESS?');
    expect(stderr).toMatch(/STAFETT_GRPC_ADDRESS="0\.0\.0\.0:0": .*STAFETT_INSECURE=true/);
  });

  it('says what to install when there is no Redis to embed', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'path-'));
    onCleanup(() => rmSync(dir, { recursive: true }));
    symlinkSync('/bin/sh', join(dir, 'sh')); // what starts the server needs it
    const { code, stderr } = await runServer([], { PATH: dir });
    expect(code).toBe(1);
    expect(stderr).toContain('apt-get install redis-server');
    expect(stderr).toContain('REDIS_URL');
  });

  it.each(['STAFETT_GRPC_ADDRESS', 'STAFETT_HTTP_ADDRESS'])('names %s when its port is taken', async (name) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(other.address() as { port: number }).port}`;
    const free = { STAFETT_GRPC_ADDRESS: '127.0.0.1:0', STAFETT_HTTP_ADDRESS: '127.0.0.1:0' };
    const { code, stdout, stderr } = await runServer([], { ...free, [name]: address });
    other.close();
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`cannot listen on ${name} ${address}: .*EADDRINUSE`));
  });
});
