import { hostname } from 'node:os';
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { freePort } from './ports.js';
import type { RedisBackend } from './redis-backend.js';
import { RUN_VARIABLE } from './redis-kind.js';

const IMAGE = process.env.STAFETT_TEST_REDIS_IMAGE || 'redis:7';
const PORT = 6379;
const TRIES = 3;

/** Say whose a container is, so that those which were left behind can be told from those in use. */
const RUN_LABEL = 'stafett-test-run';
const HOST_LABEL = 'stafett-test-host';

/** A Redis in a container. The published port is chosen by us, for it must stay the same when the container is started again. */
export async function createDockerRedis(args: readonly string[]): Promise<RedisBackend> {
  const { started, port } = await startContainer(args);
  const { container: containers } = await getContainerRuntimeClient();
  const container = containers.getById(started.getId());
  let running = true;
  return {
    kind: 'docker',
    host: started.getHost(),
    port,
    start: async () => {
      if (!running) await container.start();
      running = true;
    },
    signal: async (signal) => void (await container.kill({ signal })),
    ended: async () => {
      await container.wait();
      running = false;
    },
    remove: async () => void (await container.remove({ force: true, v: true })),
    owns: () => true, // Docker does not publish a port that is in use
    problem: async () => {
      const { State } = await container.inspect();
      return State.Running
        ? undefined
        : `the container ended with ${State.ExitCode}: ${await container.logs({ stdout: true, stderr: true })}`;
    },
  };
}

async function startContainer(args: readonly string[]): Promise<{ started: StartedTestContainer; port: number }> {
  for (let i = 1; ; i++) {
    const port = await freePort();
    try {
      const started = await new GenericContainer(IMAGE)
        .withCommand(['redis-server', '--protected-mode', 'no', '--save', '', '--appendonly', 'no', ...args])
        .withExposedPorts({ container: PORT, host: port })
        .withLabels({ [RUN_LABEL]: process.env[RUN_VARIABLE] ?? String(process.pid), [HOST_LABEL]: hostname() })
        .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
        .start();
      return { started, port };
    } catch (error) {
      if (i === TRIES || !/port is already allocated|address already in use/i.test(String(error))) throw error;
    }
  }
}

/** Removes what test runs on this machine left: those that are gone, and this one, whose process id is given when it ends. */
export async function removeContainers(endedRun?: number): Promise<void> {
  const { container: runtime } = await getContainerRuntimeClient();
  for (const { Id, Labels } of await runtime.list()) {
    const run = Number(Labels[RUN_LABEL]);
    if (Labels[HOST_LABEL] !== hostname() || (run !== endedRun && isAlive(run))) continue;
    await runtime.getById(Id).remove({ force: true, v: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
