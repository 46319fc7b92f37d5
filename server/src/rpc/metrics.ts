import type { ServerMiddleware } from 'nice-grpc-common';
import { labelNames, labelNamesWithCode, prometheusServerMiddleware } from 'nice-grpc-prometheus';
import { Counter, Histogram, type Registry } from 'prom-client';

/** 0.25 ms to 30 s. Waiting acquires and streams take longer, and say nothing about the server's speed. */
const SECONDS = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Counts and times calls by service, method and status code: labels that are fixed by the protos, never by a caller. */
export function rpcMetrics(registry: Registry): ServerMiddleware {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });
  return prometheusServerMiddleware({
    serverStartedMetric: counter('grpc_server_started_total', 'Calls that began.'),
    serverStreamMsgReceivedMetric: counter('grpc_server_msg_received_total', 'Messages that streams received.'),
    serverStreamMsgSentMetric: counter('grpc_server_msg_sent_total', 'Messages that streams sent.'),
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
