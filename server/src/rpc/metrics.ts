import type { MethodDescriptor, ServerMiddleware } from 'nice-grpc-common';
import { labelNames, labelNamesWithCode, prometheusServerMiddleware } from 'nice-grpc-prometheus';
import { Counter, Histogram, type Registry } from 'prom-client';

/** 0.25 ms to 30 s. Waiting acquires and streams take longer, and say nothing about the server's speed. */
const SECONDS = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const RECEIVED = 'grpc_server_msg_received_total';
const SENT = 'grpc_server_msg_sent_total';

/** Counts and times calls by service, method and status code: labels that are fixed by the protos, never by a caller. */
export function rpcMetrics(registry: Registry): ServerMiddleware {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });
  return prometheusServerMiddleware({
    serverStartedMetric: counter('grpc_server_started_total', 'Calls that began.'),
    serverStreamMsgReceivedMetric: counter(RECEIVED, 'Messages that streams received.'),
    serverStreamMsgSentMetric: counter(SENT, 'Messages that streams sent.'),
    serverHandledMetric: new Counter({
      name: 'grpc_server_handled_total',
      help: 'Calls that ended, by status code.',
      labelNames: labelNamesWithCode,
      registers,
    }),
    serverHandlingSecondsMetric: new Histogram({
      name: 'grpc_server_handling_seconds',
      help: 'How long calls took, waiting included.',
      labelNames: labelNamesWithCode,
      buckets: SECONDS,
      registers,
    }),
  });
}

/** Counts the messages of one method that the middleware does not see. Needs `rpcMetrics` of the same registry. */
export function messageCounts(registry: Registry, { path, requestStream, responseStream }: Omit<MethodDescriptor, 'options'>) {
  const [, service = '', method = ''] = path.split('/');
  const type = requestStream && responseStream ? 'bidi_stream' : requestStream ? 'client_stream' : 'server_stream';
  const labels = { grpc_type: type, grpc_service: service, grpc_method: method, grpc_path: path };
  const counter = (name: string) => (registry.getSingleMetric(name) as Counter<keyof typeof labels>).labels(labels);
  const [received, sent] = [counter(RECEIVED), counter(SENT)];
  return { received: () => received.inc(), sent: () => sent.inc() };
}
