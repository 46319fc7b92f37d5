import type { PipelineCommand, PipelineRequest, PipelineResult } from '../../../clients/typescript/src/gen/stafett/v1/lock.js';
import type { ContenderSpec } from './contender.js';

const sessionTtlSeconds = 30;
const waitTimeout = { seconds: 3600n, nanos: 0 };
const commandsMax = 1000;

type Command = NonNullable<PipelineCommand['command']>;

/** The least that a client can do with `Pipeline`: whatever was asked for in one tick goes out in one message. */
class BarePipeline {
  private queue: PipelineCommand[] = [];
  private readonly waiting = new Map<bigint, { resolve: (result: PipelineResult['result']) => void; reject: (error: unknown) => void }>();
  private nextId = 1n;
  private wake: () => void = () => {};

  call(command: Command): Promise<PipelineResult['result']> {
    const id = this.nextId++;
    this.queue.push({ id, command });
    // After the microtasks: a release and the acquire that follows another release travel together.
    if (this.queue.length === 1) process.nextTick(() => this.wake());
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  async *requests(): AsyncIterable<PipelineRequest> {
    for (;;) {
      if (this.queue.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
      const commands = this.queue.splice(0, commandsMax);
      yield { commands };
    }
  }

  async read(responses: AsyncIterable<{ results: PipelineResult[] }>): Promise<void> {
    try {
      for await (const { results } of responses) {
        for (const { id, result } of results) {
          this.waiting.get(id)?.resolve(result);
          this.waiting.delete(id);
        }
      }
    } catch (error) {
      for (const { reject } of this.waiting.values()) reject(error);
    }
  }
}

export const stafettPipeline: ContenderSpec = {
  id: 'stafett-pipeline',
  title: 'Stafett, bare Pipeline',
  settings: 'the generated nice-grpc stub of Pipeline without the client library: what the library costs is the difference to this',
  backend: 'stafett',
  onlyWhenNamed: true,
  inFlightMax: Number.POSITIVE_INFINITY,
  waitersMax: Number.POSITIVE_INFINITY,
  async connect(endpoints) {
    const { createChannel, createClient } = await import('nice-grpc');
    const { LockServiceDefinition } = await import('../../../clients/typescript/src/gen/stafett/v1/lock.js');
    const { SessionServiceDefinition } = await import('../../../clients/typescript/src/gen/stafett/v1/session.js');
    if (endpoints.stafettAddress === undefined) throw new Error('no Stafett in this run');
    const channel = createChannel(endpoints.stafettAddress);
    const sessions = createClient(SessionServiceDefinition, channel);
    const { session } = await sessions.openSession({ ttl: { seconds: BigInt(sessionTtlSeconds), nanos: 0 }, client: { name: 'bench' } });
    const sessionId = session?.sessionId ?? '';
    const pipeline = new BarePipeline();
    const abort = new AbortController();
    void pipeline.read(createClient(LockServiceDefinition, channel).pipeline(pipeline.requests(), { signal: abort.signal }));
    let requests = 0;
    return {
      async acquire(name) {
        const value = {
          names: [name],
          sessionId,
          ttl: undefined,
          waitTimeout,
          requestId: `r${requests++}`,
          owner: undefined,
          purpose: '',
          heldLockIds: [],
        };
        const result = await pipeline.call({ $case: 'acquire', value });
        if (result?.$case !== 'acquire' || result.value.outcome?.$case !== 'grant')
          throw new Error(`no grant of ${name}: ${JSON.stringify(result)}`);
        const { lockId } = result.value.outcome.value;
        return () => pipeline.call({ $case: 'release', value: { lockId } });
      },
      async close() {
        await sessions.closeSession({ sessionId });
        abort.abort();
        channel.close();
      },
    };
  },
};
