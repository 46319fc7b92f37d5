import type { Logger } from 'pino';
import { type ClusterMap, type ClusterNode, mergeNodes, parseNodes } from './cluster-map.js';
import { NoUseToWait, probeNode } from './cluster-probe.js';
import { RedisConnection } from './connection.js';
import type { ClusterMasters, Masters } from './masters.js';
import { redirectionOf } from './redirection.js';
import { SLOTS } from './slots.js';
import { type ClusterTarget, describeHost, describeTarget, type HostPort, nodeTarget } from './target.js';

export interface RedisClusterOptions {
  readonly target: ClusterTarget;
  readonly logger: Logger;
  /** Nobody has used any of the masters before. */
  readonly isNew: boolean;
  /** How long `connect()` tries before it gives up, ms. Default 10 s. */
  readonly connectTimeoutMs?: number;
}

/** How often to look who has which slots: while all is well; at least and at most while something is not; after a redirection. ms. */
const LOOK_MS = 2_000;
const TROUBLED_LOOK_MS_MIN = 50;
const TROUBLED_LOOK_MS_MAX = 1_000;
const REDIRECTED_LOOK_MS = 20;
/** How long to wait for a node's answer, ms. */
const ANSWER_MS = 1_000;
/** How far the clocks of two masters may be apart for deadlines to move from one to the other, ms: less than any client's margin. */
const CLOCKS_APART_MS = 100;

/** A master with its connection. */
interface Place {
  readonly node: ClusterNode;
  readonly connection: RedisConnection;
}

/** The masters of a Redis Cluster: who has which slot, and a connection to each. It looks again whenever something is not as it thought. */
export class RedisCluster implements Masters, ClusterMasters {
  readonly cluster: ClusterMasters = this;
  readonly #options: RedisClusterOptions;
  readonly #listeners = new Set<() => void>();
  /** By address. */
  #places = new Map<string, Place>();
  /** By slot. */
  readonly #homes = new Array<RedisConnection | undefined>(SLOTS).fill(undefined);
  /** Since when each slot has been there, by `performance.now()`. */
  readonly #since = new Float64Array(SLOTS);
  #nodes: readonly HostPort[];
  /** Of connections that are closed. */
  #formerReconnects = 0;
  #timer: NodeJS.Timeout | undefined;
  #lookAt = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #troubledLookMs = TROUBLED_LOOK_MS_MIN;
  /** Everybody who was asked last has answered. */
  #allAnswered = true;
  #closed = false;

  constructor(options: RedisClusterOptions) {
    this.#options = options;
    this.#nodes = options.target.nodes;
  }

  async connect(): Promise<void> {
    const { connectTimeoutMs = 10_000, logger } = this.#options;
    const deadline = AbortSignal.timeout(connectTimeoutMs);
    await this.#firstLook(deadline);
    const waits = this.all.map((connection) => connection.whenReady(deadline).catch(() => {}));
    await Promise.all(waits);
    const missing = this.all.filter(({ ready }) => !ready).length;
    if (missing === this.all.length) throw this.#unreachable('none of its masters can be used');
    if (missing > 0) logger.warn({ missing }, 'not all masters of the Redis Cluster can be reached; their namespaces have to wait');
  }

  at(slot: number): RedisConnection {
    // A slot that nobody has: whoever is asked refuses.
    return this.#homes[slot] ?? (this.all[0] as RedisConnection);
  }

  get all(): readonly RedisConnection[] {
    return [...this.#places.values()].map(({ connection }) => connection);
  }

  /** Masters and replicas that are there, as far as it is known. */
  get nodes(): readonly HostPort[] {
    return this.#nodes;
  }

  get reconnects(): number {
    return this.all.reduce((sum, { reconnects }) => sum + reconnects, this.#formerReconnects);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const connection of this.all) connection.close();
  }

  async watchedMs(slot: number): Promise<number> {
    const since = await this.at(slot).watchedSince();
    return performance.now() - Math.max(since, this.#since[slot] as number);
  }

  async cameWhole(slot: number, from: string, since: number): Promise<boolean> {
    const here = this.at(slot);
    const source = this.all.find(({ run }) => run === from);
    if (source === undefined || !this.all.every(({ ready }) => ready)) return false;
    const others = this.all.filter((connection) => connection !== here);
    const left = await Promise.all(others.map((connection) => connection.command<number>('CLUSTER', 'COUNTKEYSINSLOT', slot)));
    if (left.some((count) => count > 0)) return false;
    const watched = await Promise.all([source.watchedSince(), here.watchedSince()]);
    if (source.run !== from || Math.max(...watched) >= since) return false;
    return source === here || clocksAgree(source, here);
  }

  async toKey(slot: number, name: string, ...args: string[]): Promise<unknown> {
    try {
      return await this.at(slot).command(name, ...args);
    } catch (error) {
      const redirection = redirectionOf(error);
      if (redirection?.kind !== 'ASK') throw error;
      const { host, port } = redirection;
      const next = [...this.#places.values()].find(({ node }) => (node.host === host || node.ip === host) && node.port === port);
      if (next === undefined) throw error;
      return next.connection.asking(name, ...args);
    }
  }

  /** Tries one node after the other. */
  async #firstLook(deadline: AbortSignal): Promise<void> {
    const { target } = this.#options;
    let last = 'no answer';
    while (!deadline.aborted) {
      for (const node of target.nodes) {
        try {
          this.#apply(mergeNodes([await probeNode(target, node)]));
          if (this.#places.size > 0) return this.#lookIn(0);
          last = `${describeHost(node)} knows of no master`;
        } catch (error) {
          if (error instanceof NoUseToWait) throw error;
          last = (error as Error).message;
        }
        if (deadline.aborted) break;
      }
      await new Promise((resolve) => setTimeout(resolve, TROUBLED_LOOK_MS_MIN));
    }
    throw this.#unreachable(last);
  }

  #unreachable(problem: string): Error {
    const { target, connectTimeoutMs = 10_000 } = this.#options;
    return new Error(
      `no Redis Cluster at ${describeTarget(target)} within ${connectTimeoutMs / 1000} s (${problem}): start it there, correct REDIS_URL, ` +
        'or unset REDIS_URL to use an embedded Redis',
    );
  }

  /** Looks after that time, ms, unless it will be sooner anyway. */
  #lookIn(ms: number): void {
    const at = performance.now() + ms;
    if (this.#closed || at >= this.#lookAt) return;
    clearTimeout(this.#timer);
    this.#lookAt = at;
    this.#timer = setTimeout(() => {
      this.#lookAt = Number.POSITIVE_INFINITY;
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
        this.#lookIn(this.#nextLookMs());
      });
    }, ms).unref();
  }

  #nextLookMs(): number {
    const isWell = this.#allAnswered && this.all.every(({ ready }) => ready) && !this.#homes.includes(undefined);
    this.#troubledLookMs = isWell ? TROUBLED_LOOK_MS_MIN : Math.min(TROUBLED_LOOK_MS_MAX, this.#troubledLookMs * 2);
    return isWell ? LOOK_MS : this.#troubledLookMs;
  }

  async #look(): Promise<void> {
    const { target } = this.#options;
    const ask = async ({ node, connection }: Place) => parseNodes(await connection.command<string>('CLUSTER', 'NODES'), node, target.tls);
    const asked = [...this.#places.values()].filter(({ connection }) => connection.ready);
    let answers = await answersOf(asked.map(ask));
    this.#allAnswered = answers.length === asked.length;
    if (answers.length === 0) answers = await answersOf([...this.#nodes, ...target.nodes].map((node) => probeNode(target, node)));
    if (answers.length > 0 && !this.#closed) this.#apply(mergeNodes(answers));
  }

  #apply({ nodes, masters, owners }: ClusterMap): void {
    if (masters.length === 0) return;
    const isFirst = this.#places.size === 0;
    const before = this.#places;
    const nodesBefore = names(this.#nodes);
    this.#places = new Map(masters.map((node) => [describeHost(node), this.#place(node, before, isFirst)]));
    this.#nodes = nodes;
    let moved = 0;
    for (const [slot, owner] of owners.entries()) {
      const home = owner && this.#places.get(describeHost(owner))?.connection;
      if (home === undefined || home === this.#homes[slot]) continue;
      this.#homes[slot] = home;
      this.#since[slot] = isFirst && this.#options.isNew ? Number.NEGATIVE_INFINITY : performance.now();
      moved++;
    }
    if (moved > 0 && !isFirst) this.#options.logger.info({ slots: moved }, 'slots of the Redis Cluster have another master');
    const left = [...before].filter(([address]) => !this.#places.has(address));
    for (const [, { connection }] of left) this.#leave(connection);
    if (moved > 0 || left.length > 0 || this.#places.size > before.size || nodesBefore !== names(nodes)) this.#tell();
  }

  #place(node: ClusterNode, before: Map<string, Place>, isFirst: boolean): Place {
    const known = before.get(describeHost(node));
    if (known) return { node, connection: known.connection };
    const { target, logger, isNew } = this.#options;
    const connection = new RedisConnection({
      target: nodeTarget(target, node),
      logger,
      isNew: isFirst && isNew,
      onRedirection: () => this.#lookIn(REDIRECTED_LOOK_MS),
    });
    connection.onStateChange((ready) => {
      if (!ready) this.#lookIn(TROUBLED_LOOK_MS_MIN);
      this.#tell();
    });
    connection.begin();
    return { node, connection };
  }

  #leave(connection: RedisConnection): void {
    this.#formerReconnects += connection.reconnects;
    for (const [slot, home] of this.#homes.entries()) if (home === connection) this.#homes[slot] = undefined;
    connection.close();
  }

  #tell(): void {
    if (this.#closed) return;
    for (const listener of [...this.#listeners]) listener();
  }
}

function names(nodes: readonly HostPort[]): string {
  return nodes.map(describeHost).sort().join();
}

/** Of those who answer in time. */
async function answersOf<T>(asked: Promise<T>[]): Promise<T[]> {
  const inTime = asked.map((answer) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), ANSWER_MS);
    });
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  });
  const settled = await Promise.allSettled(inTime);
  return settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}

async function clocksAgree(one: RedisConnection, other: RedisConnection): Promise<boolean> {
  const [a, b] = await Promise.all([one.timeOffset(), other.timeOffset()]);
  return Math.max(a[1] - b[0], b[1] - a[0]) <= CLOCKS_APART_MS;
}
