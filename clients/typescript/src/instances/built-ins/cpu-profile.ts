import { type CallOffer, type CallParams, type IncomingCall, numberParam } from '../handler.js';
import { fileName } from './file-name.js';
import { profile } from './profiler.js';
import { waitWithProgress } from './waiting.js';

const SECONDS_DEFAULT = 10;
const SECONDS_MAX = 300;
const INTERVAL_US_DEFAULT = 1_000;

/** A CPU profile that Chrome DevTools and others open. */
export function cpuProfile(service: string): CallOffer {
  return {
    description: `where the CPU time goes, for Chrome DevTools (seconds, default ${SECONDS_DEFAULT}; intervalUs, default ${INTERVAL_US_DEFAULT})`,
    privileged: true,
    exclusive: true,
    handle: (params, call) => take(service, params, call),
  };
}

async function* take(service: string, params: CallParams, call: IncomingCall) {
  const seconds = numberParam(params, 'seconds', SECONDS_DEFAULT, 0.1, SECONDS_MAX);
  const intervalUs = numberParam(params, 'intervalUs', INTERVAL_US_DEFAULT, 100, 1_000_000);
  const taken = await profile(intervalUs, () => waitWithProgress(seconds, 'sampling', call));
  call.start({ contentType: 'application/json', fileName: fileName(service, '.cpuprofile') });
  yield Buffer.from(JSON.stringify(taken));
}
