import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Page } from 'playwright-core';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Stafett } from '../../clients/typescript/src/index.js';
import { startBalancer } from '../support/balancer.js';
import { CHROMIUM, openPage } from '../support/browser.js';
import { onCleanup } from '../support/cleanup.js';
import { connectClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { startStack, type TestServer, type TestStack } from '../support/stack.js';
import { freshNamespace } from '../support/stub-stack.js';

// A real Chromium with its own EventSource, and the page of examples/events-page.

const EXAMPLE = new URL('../../examples/events-page/index.html', import.meta.url);

let origin: string;
let stack: TestStack;
let namespace: string;
let page: Page;

if (CHROMIUM === undefined) process.stderr.write('no Chromium is installed, so test/browser is skipped: apt-get install chromium\n');

/** Serves the example page. Another port is another origin. */
async function servePage(): Promise<string> {
  const html = await readFile(EXAMPLE);
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => server.close());
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

async function open(from: string, port: number, channels: string[]): Promise<void> {
  const parameters = new URLSearchParams({ server: `http://127.0.0.1:${port}`, namespace });
  for (const channel of channels) parameters.append('channel', channel);
  await page.goto(`${from}/?${parameters}`);
}

/** What the page shows. */
async function shown(className: string): Promise<string[]> {
  return page.$$eval(`li.${className}`, (items) => items.map((item) => item.textContent ?? ''));
}

async function numbers(channel: string): Promise<number[]> {
  const events = (await shown('event')).map((text) => JSON.parse(text) as { channel: string; data: number });
  return events.filter((event) => event.channel === channel).map(({ data }) => data);
}

const state = () => page.textContent('#state');

describe.skipIf(CHROMIUM === undefined)('a page with an EventSource', () => {
  beforeAll(async () => {
    origin = await servePage();
    stack = await startStack({ env: { STAFETT_EVENT_HISTORY: '*=1000/1h', STAFETT_HTTP_CORS_ORIGINS: origin } });
    page = await openPage();
  });

  beforeEach(() => {
    namespace = freshNamespace();
  });

  /** Publishes numbers in two channels, one by one, while something happens to the page's server. */
  async function publishThrough(publisher: Stafett, fault: () => Promise<unknown>): Promise<void> {
    for (let i = 0; i < 120; i++) {
      if (i === 40) void fault();
      await Promise.all([publisher.events.publish('case/42', i), publisher.events.publish('user/7', i)]);
    }
  }

  const FAULTS: [string, (server: TestServer) => Promise<unknown>][] = [
    ['is killed', (server) => server.kill()],
    ['is stopped', (server) => server.stop()],
  ];

  test.each(FAULTS)('has every event once, in order, when its server %s, through a balancer', async (_, fault) => {
    const first = await stack.addServer();
    const balancer = await startBalancer([first.httpPort, stack.server.httpPort]);
    const publisher = await connectClient(stack.server, { namespace });
    await open(origin, balancer.port, ['case/42', 'user/*']);
    await eventually('the page to be connected', async () => (await state())?.startsWith('connected'));
    await publisher.events.publish('case/42', -1);
    await eventually('its first event', async () => (await numbers('case/42')).length === 1);
    await publishThrough(publisher, () => fault(first));
    await eventually('all events', async () => (await numbers('user/7')).length >= 120 && (await numbers('case/42')).length >= 121, {
      timeoutMs: 20_000,
    });
    const all = Array.from({ length: 120 }, (_, i) => i);
    expect(await numbers('case/42')).toEqual([-1, ...all]);
    expect(await numbers('user/7')).toEqual(all);
    expect(await shown('warning')).toEqual([]);
  });

  test('of another origin is not let in', async () => {
    await open(await servePage(), stack.server.httpPort, ['case/42']);
    await eventually('the refusal', async () => (await state()) === 'refused');
  });

  test('is told when what it missed is not there any more', async () => {
    const balancer = await startBalancer([stack.server.httpPort]);
    const publisher = await connectClient(stack.server, { namespace });
    await open(origin, balancer.port, ['case/42']);
    await eventually('the page to be connected', async () => (await state())?.startsWith('connected'));
    await publisher.events.publish('case/42', 1);
    await eventually('the event', async () => (await numbers('case/42')).length === 1);
    await stack.redis.client().flushall();
    await eventually('the warning', async () => (await shown('warning')).length === 1);
    await publisher.events.publish('case/42', 2);
    await eventually('the next event', async () => (await numbers('case/42')).length === 2);
  });
});
