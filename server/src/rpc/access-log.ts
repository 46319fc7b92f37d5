import type { CallContext, ServerMiddleware, ServerMiddlewareCall } from 'nice-grpc-common';
import { ServerError, Status } from 'nice-grpc-common';
import type { Logger } from 'pino';
import { isAbort } from './errors.js';

/** One line for each call, at debug: method, status code and how long it took in ms. Nothing from the request. */
export function accessLog(logger: Logger): ServerMiddleware {
  async function* logged<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    const started = performance.now();
    // Stays when the caller goes away and nobody asks the generator for more.
    let code = Status.CANCELLED;
    try {
      const response = yield* call.next(call.request, context);
      code = Status.OK;
      return response;
    } catch (error) {
      code = error instanceof ServerError ? error.code : isAbort(error) ? Status.CANCELLED : Status.UNKNOWN;
      throw error;
    } finally {
      const ms = Math.round((performance.now() - started) * 1000) / 1000;
      logger.debug({ method: call.method.path, code: Status[code], ms, peer: context.peer }, 'call');
    }
  }
  return function accessLogMiddleware<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    return logger.isLevelEnabled('debug') ? logged(call, context) : call.next(call.request, context);
  };
}
