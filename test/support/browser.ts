import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { onCleanup } from './cleanup.js';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where a Chromium is. STAFETT_TEST_CHROMIUM says that there must be one, and where; else it may be missing. */
export const CHROMIUM = process.env.STAFETT_TEST_CHROMIUM ?? PLACES.find((path) => existsSync(path));

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/** A page of a real browser without a window, in a profile of its own. It ends with the test, or the file, that opened it. */
export async function openPage(): Promise<Page> {
  const profile = await mkdtemp(join(tmpdir(), 'stafett-chromium-'));
  onCleanup(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM as string,
    headless: true,
    args: FLAGS,
    timeout: 45_000,
  });
  onCleanup(() => context.close());
  return context.pages()[0] ?? context.newPage();
}
