import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Status } from 'nice-grpc-common';
import type { Logger } from 'pino';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import type { CallEnd, CallInstanceRequest, CallInstanceResponse, CallStart } from '../gen/stafett/v1/instance.js';
import type { Stopping } from '../rpc/draining.js';
import { reportDefect } from '../rpc/error-mapping.js';
import { invalidField, isAbort, StafettError, shuttingDown } from '../rpc/errors.js';
import { toDuration } from '../rpc/fields.js';
import { checkNamespace, DEFAULT_NAMESPACE } from '../rpc/namespace.js';
import { TAKEN } from '../rpc/strict-decoding.js';

const HTTP_STATUS: Partial<Record<Status, number>> = {
  [Status.INVALID_ARGUMENT]: 400,
  [Status.PERMISSION_DENIED]: 403,
  [Status.NOT_FOUND]: 404,
  [Status.FAILED_PRECONDITION]: 409,
  [Status.RESOURCE_EXHAUSTED]: 429,
  [Status.ABORTED]: 502,
  [Status.UNKNOWN]: 502,
  [Status.UNAVAILABLE]: 503,
  [Status.DEADLINE_EXCEEDED]: 504,
};
/** What an instance says of a request that is wrong, and not of itself; see `CallFailure`. */
const STATUS_OF_CAUSE: Record<string, number> = { INVALID_PARAMS: 400, READ_ONLY: 405 };
const SHA_TRAILER = 'Stafett-Sha256';

export interface DownloadOptions {
  readonly logger: Logger;
  call(request: CallInstanceRequest, namespace: string, signal: AbortSignal): AsyncIterable<CallInstanceResponse>;
  /** Ends all downloads when it begins, so that callers go elsewhere, and waits for their last words. */
  readonly stopping: Stopping;
}

type Path = { id: string; name: string };
type Query = Record<string, string | string[]>;

/** The answers of instances for browsers and curl: `GET`, which only looks, with the parameters in the query, `POST` with them as a JSON object. */
export function addDownloads(app: FastifyInstance, options: DownloadOptions): void {
  app.route<{ Params: Path; Querystring: Query; Body: unknown }>({
    method: ['GET', 'POST'],
    url: '/v1/instances/:id/calls/:name',
    exposeHeadRoute: false,
    handler: (request, reply) => download(options, request, reply),
  });
}

async function download(
  options: DownloadOptions,
  request: FastifyRequest<{ Params: Path; Querystring: Query; Body: unknown }>,
  reply: FastifyReply,
): Promise<unknown> {
  const gone = new AbortController();
  const onGone = () => gone.abort();
  reply.raw.once('close', onGone);
  reply.raw.once('close', options.stopping.begin());
  const unfollow = options.stopping.draining.follow(onGone);
  try {
    refuseOtherSites(request.headers['sec-fetch-site']);
    const [call, namespace] = toCall(request);
    const writer = new AnswerWriter(reply, call.name);
    for await (const response of options.call(call, namespace, gone.signal)) await writer.write(response, gone.signal);
    writer.end();
  } catch (error) {
    return fail(options, request, reply, error);
  } finally {
    unfollow();
  }
}

/** A page of somebody else's, in the browser of somebody who reaches this server, may not make calls. */
function refuseOtherSites(site: string | string[] | undefined): void {
  if (site === undefined || site === 'none' || site === 'same-origin') return;
  throw new StafettError(Status.PERMISSION_DENIED, ErrorReason.CALL_NOT_ALLOWED, 'calls from the pages of other sites are refused', {});
}

/** `namespace` and `timeout` (seconds) in the query are ours, everything else is the call's. */
function toCall({ method, params: { id, name }, query, body }: FastifyRequest<{ Params: Path; Querystring: Query; Body: unknown }>) {
  const { namespace = DEFAULT_NAMESPACE, timeout, ...rest } = query;
  checkNamespace([namespace].flat());
  const seconds = timeout === undefined ? undefined : Number(timeout);
  if (seconds !== undefined && !(seconds > 0)) throw invalidField('timeout', 'must be a number of seconds above 0');
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  if (body !== undefined && body !== null && !isObject) throw invalidField('body', 'must be a JSON object');
  const params = JSON.stringify({ ...rest, ...(isObject && (body as object)) });
  const timeoutOfCall = seconds === undefined ? undefined : toDuration(Math.ceil(seconds * 1000));
  const call = { instanceId: id, name, params, timeout: timeoutOfCall, readOnly: method === 'GET' };
  return [call, namespace as string] as const;
}

/** Writes the parts of an answer as fast as the reader takes them. */
class AnswerWriter {
  readonly #reply: FastifyReply;
  readonly #name: string;
  #end: CallEnd | undefined;

  constructor(reply: FastifyReply, name: string) {
    this.#reply = reply;
    this.#name = name;
  }

  async write(response: CallInstanceResponse, gone: AbortSignal): Promise<void> {
    const { event } = response;
    if (event?.$case === 'started') this.#begin(event.value);
    if (event?.$case === 'finished') this.#end = event.value;
    if (event?.$case !== 'chunk') return;
    this.#begin();
    const { raw } = this.#reply;
    if (!raw.write(event.value)) await drained(raw, gone);
    (response as { [TAKEN]?: () => void })[TAKEN]?.();
  }

  /** @throws {Error} if the answer is not complete. */
  end(): void {
    if (!this.#end) throw new Error('an answer ended without saying so');
    this.#begin();
    const { raw } = this.#reply;
    if (raw.hasHeader('trailer')) raw.addTrailers({ [SHA_TRAILER]: this.#end.sha256.toString('hex') });
    raw.end();
  }

  #begin({ contentType, fileName, totalBytes }: CallStart = { contentType: '', fileName: '', totalBytes: undefined }): void {
    const { raw } = this.#reply;
    if (raw.headersSent) return;
    this.#reply.hijack();
    const name = fileName.split(/[/\\]/).at(-1) || this.#name;
    const plain = name.replace(/[^\w.+-]/g, '_');
    raw.setHeader('Content-Type', /^[\w.+-]+\/[\w.+; =-]+$/.test(contentType) ? contentType : 'application/octet-stream');
    raw.setHeader('Content-Disposition', `attachment; filename="${plain}"; filename*=UTF-8''${encodeURIComponent(name)}`);
    raw.setHeader('X-Content-Type-Options', 'nosniff');
    raw.setHeader('Cache-Control', 'no-store');
    if (totalBytes !== undefined) raw.setHeader('Content-Length', String(totalBytes));
    else raw.setHeader('Trailer', SHA_TRAILER);
    raw.flushHeaders();
  }
}

function drained(raw: FastifyReply['raw'], gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      raw.off('drain', done);
      gone.removeEventListener('abort', done);
      resolve();
    };
    raw.once('drain', done);
    gone.addEventListener('abort', done);
    if (gone.aborted) done();
  });
}

/** Before the first byte it is a page; after it, only a broken connection shows that the answer is not complete. */
function fail({ logger, stopping }: DownloadOptions, request: FastifyRequest, reply: FastifyReply, cause: unknown): unknown {
  if (isAbort(cause) && !stopping.draining.reached) return reply.hijack(); // the caller has gone
  const told = isAbort(cause) ? shuttingDown() : cause;
  const error = told instanceof StafettError ? told : reportDefect(logger, request.routeOptions.url ?? '', told);
  if (reply.raw.headersSent) return reply.raw.destroy();
  if (reply.raw.destroyed) return reply.hijack();
  const { status, reason, message, metadata, retryDelayMs } = error;
  if (retryDelayMs !== undefined) reply.header('retry-after', Math.ceil(retryDelayMs / 1000));
  const code = STATUS_OF_CAUSE[metadata.cause ?? ''] ?? HTTP_STATUS[status] ?? 500;
  if (code === 405) reply.header('allow', 'POST');
  return reply.code(code).send({ error: message, reason: ErrorReason[reason], metadata });
}
