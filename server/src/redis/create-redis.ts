import type { Logger } from 'pino';
import { RedisCluster } from './cluster.js';
import { type Masters, SingleMaster } from './masters.js';
import { NodePicker } from './node-picker.js';
import { Subscriber } from './subscriber.js';
import type { RedisTarget } from './target.js';

export interface Redis {
  readonly masters: Masters;
  readonly subscriber: Subscriber;
}

/** What connects to the Redis, or to the cluster. @param isNew nobody has used it before. */
export function createRedis(target: RedisTarget, logger: Logger, isNew: boolean): Redis {
  if (target.kind !== 'cluster') return { masters: new SingleMaster({ target, logger }), subscriber: new Subscriber({ target, logger }) };
  const masters = new RedisCluster({ target, logger, isNew });
  const picker = new NodePicker(() => masters.nodes);
  const subscriber = new Subscriber({ target, logger, picker });
  // A node that is no longer one of the cluster may live on, and hears nothing any more.
  masters.onChange(() => {
    if (!picker.isCurrentThere()) subscriber.move();
  });
  return { masters, subscriber };
}

/** What a load balancer need not know: the namespaces of the other masters go on. */
export function missingMasters({ all }: Masters): string[] {
  const missing = all.filter(({ ready }) => !ready).length;
  return missing > 0 && missing < all.length ? [`${missing} of ${all.length} masters of the Redis Cluster cannot be reached`] : [];
}
