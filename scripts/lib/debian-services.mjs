import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './steps.mjs';

const POLICY = '/usr/sbin/policy-rc.d';

/**
 * Does `work`, which installs packages, and keeps Debian from starting the services that are in them: we want the
 * programs only. A policy that the machine has of its own stays as it is. `prefix` is sudo where it is needed.
 */
export async function withoutServices(packageManager, prefix, work) {
  if (packageManager !== 'apt-get' || existsSync(POLICY)) return work();
  await putPolicy(prefix);
  try {
    return await work();
  } finally {
    await call(prefix, 'rm', '-f', POLICY);
    // Nor at the next boot.
    if (existsSync('/run/systemd/system')) await call(prefix, 'systemctl', 'disable', 'redis-server').catch(() => {});
  }
}

async function putPolicy(prefix) {
  const dir = mkdtempSync(join(tmpdir(), 'stafett-'));
  try {
    const draft = join(dir, 'policy-rc.d');
    writeFileSync(draft, '#!/bin/sh\nexit 101\n');
    await call(prefix, 'install', '-m', '755', draft, POLICY);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function call(prefix, ...command) {
  const [first, ...rest] = [...prefix, ...command];
  return run(first, rest);
}
