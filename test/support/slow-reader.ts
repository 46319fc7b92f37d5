import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { type Publication, type SlowPolicy, SubscribeRequest, SubscribeResponse } from '../../server/src/gen/stafett/v1/event.js';
import { onCleanup } from './cleanup.js';

/** A subscriber over a connection of its own, that reads only where it begins, and the rest when it is told to. */
export class SlowReader {
  readonly publications: Publication[] = [];
  dropped = 0;
  error: ServiceError | undefined;
  readonly #call: ClientReadableStream<Buffer>;

  constructor(port: number, namespace: string, channel: string, slowPolicy: SlowPolicy, queueBytesMax = 0) {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
    onCleanup(() => client.close());
    const metadata = new Metadata();
    metadata.set('stafett-namespace', namespace);
    const request = {
      channels: [{ channel, since: undefined }],
      slowPolicy,
      queueBytesMax,
      sessionId: '',
      present: false,
      watchPresence: false,
    };
    const bytes = Buffer.from(SubscribeRequest.encode(request).finish());
    const same = (each: Buffer) => each;
    this.#call = client.makeServerStreamRequest('/stafett.v1.EventService/Subscribe', same, same, bytes, metadata);
    this.#call.on('error', (error: ServiceError) => {
      this.error = error;
    });
    // The library holds back what it does not read only behind a first message.
    this.#call.once('data', (bytes: Buffer) => {
      this.#call.pause();
      this.#take(bytes);
    });
  }

  /** Begins to read. */
  read(): void {
    this.#call.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#call.resume();
  }

  #take(bytes: Buffer): void {
    for (const { event } of SubscribeResponse.decode(bytes).events) {
      if (event?.$case === 'publication') this.publications.push(event.value);
      if (event?.$case === 'dropped') this.dropped += Number(event.value.count);
    }
  }

  get data(): number[] {
    return this.publications.map(({ data }) => (JSON.parse(data) as { n: number }).n);
  }
}

/** What a server's metrics say; the sum over all labels, or those that have `label`, as in `grpc_method="Acquire"`. */
export async function metric(server: { readonly httpAddress: string }, name: string, label = ''): Promise<number> {
  const text = await (await fetch(`http://${server.httpAddress}/metrics`)).text();
  const lines = [...text.matchAll(new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, 'gm'))];
  return lines.reduce((sum, [, labels = '', value]) => sum + (labels.includes(label) ? Number(value) : 0), 0);
}
