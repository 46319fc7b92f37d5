import { eventually } from '../support/eventually.js';
import { type SentinelSetup, startSentinel } from '../support/redis-sentinel.js';
import type { Place, ReplicatedSite } from './site.js';

const PATIENTLY = { timeoutMs: 60_000, intervalMs: 100 };
/** A sentinel gives up, if the replica is too slow to become the master: then it is asked again. */
const SOON = { timeoutMs: 5_000, intervalMs: 100 };
const TRIES = 5;
/** Fail-overs may follow each other in twice this time. */
const FAILOVER_TIMEOUT_MS = 1_000;

/** A master and a replica that a sentinel watches. */
export class SentinelSite implements ReplicatedSite {
  readonly kind = 'sentinel';
  master: Place;

  private constructor(
    private readonly setup: SentinelSetup,
    readonly places: readonly Place[],
  ) {
    this.master = places[0] as Place;
  }

  static async start(): Promise<SentinelSite> {
    const setup = await startSentinel({ proxied: true, failoverTimeoutMs: FAILOVER_TIMEOUT_MS });
    return new SentinelSite(setup, setup.nodes as readonly Place[]);
  }

  get url(): string {
    return this.setup.url;
  }

  async whenReplaced(master: Place, patience = PATIENTLY): Promise<void> {
    const isReplaced = async () => ((await this.setup.masterNow())?.redis ?? master.redis) !== master.redis;
    await eventually('the sentinel to name another master', isReplaced, patience);
  }

  async handOver(): Promise<void> {
    const before = this.master;
    // Refused for as long as the sentinel has not heard that the replica is well again.
    const accepted = async () => (await this.setup.switchOver()) === 'OK';
    for (let left = TRIES; ; left--) {
      await eventually('the sentinel to switch over', accepted, PATIENTLY);
      try {
        return await this.whenReplaced(before, SOON);
      } catch (error) {
        if (left === 1) throw error;
      }
    }
  }

  async settle(): Promise<void> {
    await eventually('master, replica and sentinel to agree', () => this.#agree(), PATIENTLY);
  }

  async #agree(): Promise<boolean> {
    const named = await this.setup.masterNow();
    const roles = await Promise.all(
      this.places.map(async ({ redis }) => {
        const client = redis.client({ commandTimeout: 1_000 });
        const info = await client.info('replication').finally(() => client.disconnect());
        return { redis, isMaster: /^role:master/m.test(info), isInSync: info.includes('master_link_status:up') };
      }),
    );
    const agreed = roles.every(({ redis, isMaster, isInSync }) => (redis === named?.redis ? isMaster : isInSync));
    if (agreed) this.master = this.places.find(({ redis }) => redis === named?.redis) as Place;
    return agreed;
  }
}
