import { startRedis, type TestRedis } from '../support/redis.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

export const SITE_KINDS = ['single', 'sentinel', 'cluster'] as const;
export type SiteKind = (typeof SITE_KINDS)[number];

/** A Redis process, and what stands between it and the servers. */
export interface Place {
  readonly redis: TestRedis;
  readonly proxy: TcpProxy;
}

/** Where the servers keep their state: Redis processes that can be hurt. */
export interface Site {
  readonly kind: SiteKind;
  /** For REDIS_URL. */
  readonly url: string;
  readonly places: readonly Place[];
  /** The one that has the namespace, as of when all was well last. */
  readonly master: Place;
  /** Until all are there and agree who the master is. */
  settle(): Promise<void>;
}

/** One that has replicas, and somebody who makes one of them the master. */
export interface ReplicatedSite extends Site {
  /** Until another is the master. */
  whenReplaced(master: Place): Promise<void>;
  /** Makes a replica the master, while the one that it was lives on. Is refused now and then. */
  handOver(): Promise<void>;
}

/** One Redis, which is replaced by another when it fails over. */
export class SingleSite implements Site {
  readonly kind = 'single';

  constructor(
    public master: Place,
    readonly env: Readonly<Record<string, string>>,
  ) {}

  static async start(env: Readonly<Record<string, string>>): Promise<SingleSite> {
    const redis = await startRedis({ kind: 'private', env });
    return new SingleSite({ redis, proxy: await startTcpProxy({ port: redis.port }) }, env);
  }

  get url(): string {
    return `redis://${this.master.proxy.address}`;
  }

  get places(): readonly Place[] {
    return [this.master];
  }

  async settle(): Promise<void> {}

  /** One that has no data yet, on the same clock. */
  startAnother(): Promise<TestRedis> {
    return startRedis({ kind: 'private', env: this.env });
  }

  /** From now on this is the master. */
  replaceBy(redis: TestRedis): void {
    const { proxy } = this.master;
    proxy.retarget({ port: redis.port });
    this.master = { redis, proxy };
  }
}
