import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const BINARIES = ['redis-server', 'valkey-server'];

/**
 * Finds the Redis to start.
 * @throws {Error} that says what to install.
 */
export function findBinary(path = process.env.PATH ?? ''): string {
  for (const name of BINARIES) {
    for (const dir of path.split(delimiter)) {
      const file = join(dir === '' ? '.' : dir, name);
      if (isExecutable(file)) return file;
    }
  }
  throw new Error(
    `neither ${BINARIES.join(' nor ')} is on the PATH. Install one (Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; ` +
      'Alpine: apk add valkey; macOS: brew install valkey), or set REDIS_URL to a Redis or Valkey that runs already, e.g. redis://127.0.0.1:6379',
  );
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
