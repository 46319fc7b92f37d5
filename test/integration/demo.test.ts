import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { onCleanup } from '../support/cleanup.js';
import { eventually } from '../support/eventually.js';
import { plainEnv, startProcess } from '../support/process.js';

const TIMEOUT_MS = 240_000; // far more than it takes, unless the machine is busy with something else

it('the demo breaks things without locks, and nothing with Stafett though a node is killed', { timeout: TIMEOUT_MS }, async () => {
  const { demo, dir } = await startDemo('--transactions', '120', '--seed', '7', '--ttl', '2s');
  const { code } = await demo.exited;
  expect(demo.stderr()).toBe('');
  expect(code).toBe(0);
  const out = demo.stdout();
  expect(out).toMatch(/120 of 120 done; node-1 0, node-2 killed, node-3 0\n/);
  expect(out).toMatch(/lost updates +[1-9]\d* +0\n/);
  expect(out).toMatch(/customers with broken journals +[1-9]\d* +0\n/);
  expect(out).toMatch(/wrong or missing letters +[1-9]\d* +0\n/);
  expect(out).toMatch(/hand-offs +[1-9]\d*\n/);
  expect(out).toMatch(/takeovers of the killed node +[1-9]\d*, after \d+ ms/);
  expect(out).toMatch(/finished what it left half done +[1-9]\d*\n/);
  const [, expired, takenOver] = /– +(\d+) ms {2}node-2 {2}tax return t\d+ +EXPIRED\n +(\d+) ms – .*node-[13] /.exec(out) ?? [];
  expect(Number(takenOver)).toBeGreaterThanOrEqual(Number(expired));
  expect(out).toMatch(/node-2 joins +node-[12] 2, node-[12] 2 /);
  expect(out).toMatch(/node-2 is killed \(TTL 2s\) +node-1 4 /);
  expect(out).toContain('Never more than 4 workers at once, of 4.');
  expect(out).toMatch(/seen from node-\d: RUNNING \d+ %/);
  expect(out).toMatch(/seen from node-\d: SUCCEEDED 100 % the report of 2024, 4 pages\n/);
  showsNews(out);
  showsProfile(out);
  expect(out).toContain('With Stafett nothing was lost');
  await nothingIsLeft(dir);
});

it('Ctrl-C ends the demo and everything that it started', { timeout: TIMEOUT_MS }, async () => {
  const { demo, dir } = await startDemo('--transactions', '2000', '--server', 'none.invalid:1');
  await eventually('the nodes to be at work', () => / done; /.test(demo.stdout()), { timeoutMs: 60_000 });
  process.kill(-demo.pid, 'SIGINT'); // as a terminal does it: to every process of the group
  expect(await demo.exited).toEqual({ code: 130, signal: null });
  expect(demo.stderr()).toBe('');
  await nothingIsLeft(dir);
});

it('the demo names an option that is wrong', { timeout: TIMEOUT_MS }, async () => {
  const { demo } = await startDemo('--transactions', 'many');
  expect((await demo.exited).code).toBe(2);
  expect(demo.stderr()).toContain("--transactions: 'many'");
});

/** Between two servers, since the demo starts two. */
function showsNews(out: string): void {
  const [, here, there] = /node-1 is connected to (127\.0\.0\.1:\d+), node-2 to (127\.0\.0\.1:\d+)\n/.exec(out) ?? [];
  expect(here).toBeDefined();
  expect(there).not.toBe(here);
  expect(out).toMatch(/node-1 publishes 20 events +node-2 saw each once, after [\d.]+ ms \(p50\), at most [\d.]+ ms\n/);
  expect(out).toMatch(/node-1 flips a feature 20 times +node-2 saw each once, after [\d.]+ ms \(p50\), at most [\d.]+ ms\n/);
}

function showsProfile(out: string): void {
  const loads = [...out.matchAll(/(node-\d) +busy for +(\d+) % of its time/g)].map(([, node, percent]) => ({
    node,
    percent: Number(percent),
  }));
  expect(loads.map(({ node }) => node)).toEqual(['node-1', 'node-2', 'node-3']);
  const [, busiest] = /(node-\d) is the busiest\. Its CPU profile of 1 s says where the time goes:\n/.exec(out) ?? [];
  expect(loads.find(({ node }) => node === busiest)?.percent).toBe(Math.max(...loads.map(({ percent }) => percent)));
  // Which of its functions comes first depends on what V8 has inlined.
  expect(out).toMatch(/\n +\d+ % {2}\w+ +(similar-names|busy-node)\.ts\n/);
  const [, file] = /For the Performance panel of Chrome DevTools: (\S+)\n/.exec(out) ?? [];
  const { nodes } = JSON.parse(readFileSync(file as string, 'utf8')) as { nodes: { callFrame: { url: string } }[] };
  expect(nodes.some(({ callFrame }) => /\/(similar-names|busy-node)\.ts$/.test(callFrame.url))).toBe(true);
}

async function startDemo(...args: string[]) {
  const dir = await mkdtemp(join(tmpdir(), 'stafett-demo-test-'));
  onCleanup(() => rm(dir, { recursive: true, force: true }));
  const program = ['--import', 'tsx', 'examples/tax-returns/main.ts', ...args];
  // What configures another server must not reach the demo's own.
  const env = plainEnv({ TMPDIR: dir, REDIS_URL: 'redis://127.0.0.1:1', STAFETT_LOG_LEVEL: 'silent' });
  const demo = startProcess(process.execPath, program, env);
  onCleanup(() => demo.kill());
  return { demo, dir };
}

/** No file and no process: all of them have the directory in their environment. */
async function nothingIsLeft(dir: string): Promise<void> {
  if (existsSync('/proc')) {
    await eventually('the processes to be gone', async () => {
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
      const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')));
      expect(pids.filter((_, i) => environments[i]!.includes(dir))).toEqual([]);
    });
  }
  expect((await readdir(dir)).filter((name) => !name.startsWith('tsx-') && name !== 'node-compile-cache')).toEqual([]);
}
