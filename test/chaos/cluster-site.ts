import { setTimeout as sleep } from 'node:timers/promises';
import { parseNodes } from '../../server/src/redis/cluster-map.js';
import { eventually } from '../support/eventually.js';
import { slotOfNamespace, startCluster, type TestCluster, type TestNode } from '../support/redis-cluster.js';
import type { Rng } from '../support/rng.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { Place, ReplicatedSite } from './site.js';

const PATIENTLY = { timeoutMs: 60_000, intervalMs: 100 };
const KEYS_AT_ONCE = 5;

type Node = TestNode & { readonly proxy: TcpProxy };

/** Three masters, each with a replica. */
export class ClusterSite implements ReplicatedSite {
  readonly kind = 'cluster';
  master: Node;
  readonly places: readonly Node[];
  readonly #slot: number;
  #masters: readonly Node[];

  private constructor(
    private readonly cluster: TestCluster,
    namespace: string,
  ) {
    this.#slot = slotOfNamespace(namespace);
    this.#masters = cluster.masters as readonly Node[];
    this.places = [...this.#masters, ...(cluster.replicas as readonly Node[])];
    this.master = this.#masters[cluster.masterOf(this.#slot)] as Node;
  }

  static async start(namespace: string): Promise<ClusterSite> {
    return new ClusterSite(await startCluster({ proxied: true }), namespace);
  }

  get url(): string {
    return this.cluster.url;
  }

  async whenReplaced(master: Place): Promise<void> {
    const isReplaced = async () => ((await this.#look(this.places.filter((node) => node !== master))) ?? master) !== master;
    await eventually('another master', isReplaced, PATIENTLY);
  }

  async handOver(): Promise<void> {
    const { master } = this;
    for (const { client } of this.places) {
      const info = await client.info('replication');
      if (!info.includes(`master_port:${master.proxy.port}\r`)) continue;
      await client.call('CLUSTER', 'FAILOVER');
      await this.whenReplaced(master);
      return;
    }
  }

  /** Moves the slot of the namespace to another master, as `redis-cli --cluster reshard` does it. */
  async moveSlot(rng: Rng): Promise<void> {
    const [from, to] = [this.master, rng.pick(this.#masters.filter((node) => node !== this.master))];
    await this.cluster.openSlot(this.#slot, from, to);
    while ((await this.cluster.moveKeys(this.#slot, from, to, KEYS_AT_ONCE)) > 0) await sleep(rng.int(0, 10));
    await this.cluster.closeSlot(this.#slot, to, this.#masters);
  }

  async settle(): Promise<void> {
    await eventually('the nodes to agree', () => this.#agree(), PATIENTLY);
  }

  async #agree(): Promise<boolean> {
    const owners = await Promise.all(this.places.map((node) => this.#look([node])));
    const [master] = owners;
    const infos = await Promise.all(this.places.map(({ client }) => client.info('replication')));
    const masters = this.places.filter((_, i) => /^role:master/m.test(infos[i] as string));
    const inSync = infos.filter((info) => info.includes('master_link_status:up'));
    const agreed = master !== undefined && owners.every((owner) => owner === master) && masters.length === this.#masters.length;
    if (!agreed || inSync.length !== this.places.length - masters.length) return false;
    [this.master, this.#masters] = [master, masters];
    return true;
  }

  /** Who has the slot, as these nodes see it; undefined unless all is well there. */
  async #look(nodes: readonly Node[]): Promise<Node | undefined> {
    const asked = nodes.map(async ({ client, proxy }) => {
      if (!((await client.call('CLUSTER', 'INFO')) as string).includes('cluster_state:ok')) return [];
      return parseNodes((await client.call('CLUSTER', 'NODES')) as string, { host: '127.0.0.1', port: proxy.port }, false);
    });
    const answers = (await Promise.allSettled(asked)).flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const claims = answers.flat().filter(({ ranges }) => ranges.some(([first, last]) => first <= this.#slot && this.#slot <= last));
    const owner = claims.toSorted((a, b) => b.epoch - a.epoch)[0];
    return owner?.hasFailed ? undefined : this.places.find(({ id }) => id === owner?.id);
  }
}
