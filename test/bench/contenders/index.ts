import type { ContenderSpec } from './contender.js';
import { postgres } from './postgres.js';
import { redisSemaphore } from './redis-semaphore.js';
import { redlock } from './redlock.js';
import { relay } from './relay.js';
import { stafett } from './stafett.js';
import { stafettPipeline } from './stafett-pipeline.js';
import { stafettUnary } from './stafett-unary.js';

/** All contenders, in the order of the tables. */
export const contenders: readonly ContenderSpec[] = [stafett, stafettPipeline, stafettUnary, redlock, redisSemaphore, postgres, relay];

/** The contender of this id. */
export function contenderById(id: string): ContenderSpec {
  const found = contenders.find((contender) => contender.id === id);
  if (found === undefined) throw new Error(`no contender '${id}'; there are: ${contenders.map((c) => c.id).join(', ')}`);
  return found;
}
