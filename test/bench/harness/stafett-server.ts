import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Readable, Writable } from 'node:stream';
import { ended, freePort, start, stop } from './child.js';
import type { CleanupStack } from './cleanup.js';
import { repositoryRoot } from './paths.js';

export interface StafettServer {
  grpcAddress: string;
  httpAddress: string;
  pid: number;
}

const readyWithinMs = 20_000;
const logLinesKept = 20;

/** Starts a Stafett server on this Redis. `nodeArgs` go to node, for profiling. */
export async function startStafett(redisUrl: string, cleanup: CleanupStack, nodeArgs: readonly string[] = []): Promise<StafettServer> {
  const main = join(repositoryRoot, 'server/dist/main.js');
  if (!existsSync(main)) throw new Error(`${main} is missing: npm run build`);
  const grpcAddress = `127.0.0.1:${await freePort()}`;
  const httpAddress = `127.0.0.1:${await freePort()}`;
  const env = {
    ...process.env,
    STAFETT_GRPC_ADDRESS: grpcAddress,
    STAFETT_HTTP_ADDRESS: httpAddress,
    REDIS_URL: redisUrl,
    STAFETT_REDIS_IS_NEW: 'true',
  };
  const child = start(process.execPath, [...nodeArgs, main], { env, cwd: repositoryRoot });
  cleanup.add(() => stop(child, 'SIGTERM', 10_000));
  await untilReady(child.stderr as Readable, ended(child));
  return { grpcAddress, httpAddress, pid: child.pid as number };
}

/** Reads the server's JSON log until it says that it is ready; afterwards drops it. */
function untilReady(log: Readable, exit: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    const fail = (why: string) => reject(new Error(`the Stafett server ${why}; the end of its log:\n${lines.join('\n')}`));
    const timer = setTimeout(() => fail(`was not ready in ${readyWithinMs} ms`), readyWithinMs);
    void exit.then(() => fail('ended'));
    const reader = createInterface({ input: log });
    reader.on('line', (line) => {
      lines.push(line);
      if (lines.length > logLinesKept) lines.shift();
      if (!/"msg":\s*"ready"/.test(line)) return;
      clearTimeout(timer);
      reader.close();
      log.pipe(new Writable({ write: (_chunk, _encoding, done) => done() }));
      resolve();
    });
  });
}
