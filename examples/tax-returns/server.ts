import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A Stafett server of the demo's own, with its own Redis, on free ports. */
export interface DemoServer {
  readonly address: string;
  handOffs(): Promise<number>;
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url));

export async function startServer(): Promise<DemoServer> {
  const env = { ...process.env, STAFETT_GRPC_ADDRESS: '127.0.0.1:0', STAFETT_HTTP_ADDRESS: '127.0.0.1:0' };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const { grpcPort, httpPort } = await ready(child);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    address: `127.0.0.1:${grpcPort}`,
    async handOffs() {
      const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
      return Number(/^stafett_handoffs_total (\d+)/m.exec(metrics)?.[1] ?? 0);
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The server says on stderr, in a line of JSON, that it is ready and where. */
function ready(child: ChildProcess): Promise<{ grpcPort: number; httpPort: number }> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error(`the Stafett server ended:\n${lines.join('\n')}`)));
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      if (lines.length < 50) lines.push(line);
      if (line.includes('"msg":"ready"')) resolve(JSON.parse(line));
    });
  });
}
