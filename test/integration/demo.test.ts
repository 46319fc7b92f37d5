import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('the demo breaks things without locks, and nothing with Stafett though a node is killed', async () => {
  const demo = ['--import', 'tsx', 'examples/tax-returns/main.ts', '--transactions', '150', '--seed', '7', '--ttl', '2s'];
  const { stdout } = await promisify(execFile)(process.execPath, demo, { timeout: 100_000 });
  expect(stdout).toMatch(/lost updates +[1-9]\d* +0\n/);
  expect(stdout).toMatch(/takeovers after the kill +[1-9]/);
  expect(stdout).toContain('EXPIRED');
  expect(stdout).toContain('With Stafett nothing was lost');
}, 120_000);
