import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { withoutServices } from './debian-services.mjs';
import { exitOf, Stop, step, succeeds } from './steps.mjs';

const BINARIES = ['redis-server', 'valkey-server'];

/** The package managers that we know, and how each installs a Redis or Valkey: the first of the packages that it has. */
const PACKAGE_MANAGERS = [
  {
    name: 'apt-get',
    refresh: ['update', '-q'],
    install: ['install', '-q', '-y', '--no-install-recommends'],
    packages: ['redis-server', 'valkey-server'],
    needsRoot: true,
    advice: 'sudo apt-get update && sudo apt-get install --no-install-recommends redis-server',
  },
  { name: 'dnf', install: ['install', '-y'], packages: ['valkey', 'redis'], needsRoot: true, advice: 'sudo dnf install valkey' },
  { name: 'apk', install: ['add', '--no-cache'], packages: ['valkey', 'redis'], needsRoot: true, advice: 'sudo apk add valkey' },
  { name: 'brew', install: ['install'], packages: ['valkey', 'redis'], needsRoot: false, advice: 'brew install valkey' },
];

/** The path of the Redis or Valkey server that is on the PATH, or undefined. */
export function findRedis() {
  const dirs = (process.env.PATH ?? '').split(delimiter).filter((dir) => dir !== '');
  return BINARIES.flatMap((name) => dirs.map((dir) => join(dir, name))).find(isExecutable);
}

/**
 * Finds a Redis or Valkey server, or installs one. Does not start it, and lets no package manager start it as a service.
 * @throws {Stop} that says what to install, when it may not or cannot.
 */
export async function ensureRedis() {
  const found = findRedis();
  if (found !== undefined) return found;
  const manager = PACKAGE_MANAGERS.find(({ name }) => succeeds(name, ['--version']));
  const prefix = manager && privilege(manager);
  if (prefix !== undefined) await install(manager, prefix);
  const installed = findRedis();
  if (installed === undefined) throw new Stop(whatToInstall(manager));
  return installed;
}

/** What goes before the package manager's command: nothing, or sudo if it asks for no password; undefined if it may not be run. */
function privilege({ needsRoot }) {
  if (!needsRoot || process.getuid?.() === 0) return [];
  return succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n'] : undefined;
}

async function install({ name, refresh, install, packages }, prefix) {
  const call = async (args) => {
    const [command, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', name, ...args];
    return (await exitOf(command, rest, { stdio: ['ignore', 2, 2] })).code === 0;
  };
  if (refresh !== undefined) {
    step(`${name}: refreshing the list of packages`);
    await call(refresh); // when this fails, an older list may do
  }
  for (const pkg of packages) {
    step(`${name}: installing ${pkg}, for neither ${BINARIES.join(' nor ')} is on the PATH`);
    if (await withoutServices(name, prefix, () => call([...install, pkg]))) return;
  }
}

function whatToInstall(manager) {
  const fitting = manager === undefined ? PACKAGE_MANAGERS : [manager];
  const lines = fitting.map(({ name, advice }) => `  ${manager === undefined ? `${name}: ` : ''}${advice}`);
  return (
    `Stafett keeps its state in Redis or Valkey, and neither ${BINARIES.join(' nor ')} is on the PATH. Install one:\n${lines.join('\n')}\n` +
    'or set REDIS_URL to one that runs already, e.g. REDIS_URL=redis://127.0.0.1:6379 npm start'
  );
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
