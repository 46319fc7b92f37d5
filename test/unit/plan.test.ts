import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Plan, type PlanConfig, type PlanNode, type PlanSlot, plan } from '../../server/src/processes/managed/plan.js';
import { testSeed } from '../support/rng.js';

// What must hold for every process, whatever its nodes and slots are and wherever they came from.

interface Cluster {
  readonly config: PlanConfig;
  readonly nodes: readonly PlanNode[];
  readonly slots: readonly PlanSlot[];
}

const SLOTS_MAX = 14;
const NODES = ['a', 'b', 'c', 'd', 'e'];
const GONE = 'gone';

/** Anything that could be: slots that are not wanted, on nodes that are gone, above the capacity, draining or not. */
const clusters: fc.Arbitrary<Cluster> = fc.record({
  config: fc.record({ name: fc.string({ maxLength: 3 }), workers: fc.nat(SLOTS_MAX - 2), running: fc.boolean() }),
  nodes: fc
    .uniqueArray(fc.constantFrom(...NODES), { maxLength: NODES.length })
    .chain((ids) => fc.tuple(...ids.map((id) => fc.record({ id: fc.constant(id), capacity: fc.nat(6) })))),
  slots: fc.uniqueArray(fc.record({ slot: fc.nat(SLOTS_MAX), node: fc.constantFrom(...NODES, GONE), draining: fc.boolean() }), {
    selector: ({ slot }) => slot,
    maxLength: SLOTS_MAX,
  }),
});

function check(property: (cluster: Cluster) => void): void {
  fc.assert(fc.property(clusters, property), { seed: testSeed(), numRuns: 2_000 });
}

function planFor({ config, nodes, slots }: Cluster): Plan {
  return plan(config, nodes, slots);
}

/** Carries the plan out, moves included. Workers that drain have not stopped yet. */
function carryOut(cluster: Cluster, { start, drain, move }: Plan): Cluster {
  const drained = new Set([...drain, ...move]);
  const slots = cluster.slots.map((each) => (drained.has(each.slot) ? { ...each, draining: true } : each));
  return { ...cluster, slots: [...slots, ...start.map((each) => ({ ...each, draining: false }))] };
}

/** All that drain have stopped, and sessions that are gone have run out. */
function stopDraining(cluster: Cluster): Cluster {
  const lives = new Set(cluster.nodes.map(({ id }) => id));
  return { ...cluster, slots: cluster.slots.filter(({ node, draining }) => !draining && lives.has(node)) };
}

/** What is not wanted stops; then one step is made: what it moves stops, and is placed anew. */
function settle(cluster: Cluster): Cluster {
  const calm = stopDraining(cluster);
  const wanted = stopDraining(carryOut(calm, { ...planFor(calm), move: [] }));
  const moved = stopDraining(carryOut(wanted, planFor(wanted)));
  return carryOut(moved, planFor(moved));
}

const wantedOf = ({ config }: Cluster) => (config.running ? config.workers : 0);
const countOf = ({ slots }: Cluster, id: string) => slots.filter(({ node }) => node === id).length;
const capacityOf = ({ nodes }: Cluster) => nodes.reduce((sum, { capacity }) => sum + capacity, 0);

describe('a plan', () => {
  test('never starts a slot while as many are in somebody’s hands as are wanted, and none twice', () => {
    check((cluster) => {
      const { start } = planFor(cluster);
      const taken = new Set(cluster.slots.map(({ slot }) => slot));
      for (const { slot } of start) {
        expect(taken.has(slot)).toBe(false);
        expect(slot).toBeLessThan(wantedOf(cluster));
        taken.add(slot);
      }
      if (start.length > 0) expect(cluster.slots.length + start.length).toBeLessThanOrEqual(wantedOf(cluster));
    });
  });

  test('starts nothing on a node beyond its capacity, those that are stopping there included', () => {
    check((cluster) => {
      const after = carryOut(cluster, planFor(cluster));
      for (const { id, capacity } of cluster.nodes) {
        expect(countOf(after, id)).toBeLessThanOrEqual(Math.max(capacity, countOf(cluster, id)));
      }
    });
  });

  test('drains what is not wanted, and what is above a capacity; and nothing twice', () => {
    check((cluster) => {
      const { drain, move } = planFor(cluster);
      const draining = new Set(cluster.slots.filter((each) => each.draining).map(({ slot }) => slot));
      expect([...drain, ...move].filter((slot) => draining.has(slot))).toEqual([]);
      expect(new Set([...drain, ...move]).size).toBe(drain.length + move.length);
      const after = carryOut(cluster, { start: [], drain, move: [] });
      const kept = after.slots.filter((each) => !each.draining);
      expect(kept.filter(({ slot }) => slot >= wantedOf(cluster))).toEqual([]);
      for (const { id, capacity } of cluster.nodes) expect(kept.filter(({ node }) => node === id).length).toBeLessThanOrEqual(capacity);
    });
  });

  test('settles after one step: evenly within the capacities, with all workers that fit', () => {
    check((cluster) => {
      const settled = settle(cluster);
      expect(planFor(settled)).toEqual({ start: [], drain: [], move: [] });
      expect(settled.slots.length).toBe(Math.min(wantedOf(cluster), capacityOf(cluster)));
      const counts = settled.nodes.map(({ id, capacity }) => ({ capacity, count: countOf(settled, id) }));
      const most = Math.max(0, ...counts.map(({ count }) => count));
      for (const { capacity, count } of counts) expect(count).toBeGreaterThanOrEqual(Math.min(capacity, most - 1));
    });
  });

  test('asks for nothing more while what it asked for is under way', () => {
    check((cluster) => {
      const calm = stopDraining(cluster);
      const { start, drain } = planFor(carryOut(calm, planFor(calm)));
      expect([start, drain]).toEqual([[], []]);
    });
  });

  test('moves as little as possible', () => {
    check((cluster) => {
      const calm = stopDraining(cluster);
      const wanted = stopDraining(carryOut(calm, { ...planFor(calm), start: [], move: [] }));
      const counts = wanted.nodes.map(({ id }) => countOf(wanted, id));
      expect(planFor(wanted).move.length).toBe(fewestMoves(wanted, counts));
    });
  });

  test('is the same in whatever order nodes and slots come', () => {
    check(({ config, nodes, slots }) => {
      expect(plan(config, nodes.toReversed(), slots.toReversed())).toEqual(plan(config, nodes, slots));
    });
  });

  test('gives the only workers of many processes to all nodes alike, and those of a node that dies to all others', () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `process-${i}`);
    const nodes = Array.from({ length: 20 }, (_, i) => ({ id: `session-${i}`, capacity: 1_000 }));
    const placed = names.map((name) => plan({ name, workers: 1, running: true }, nodes, []).start[0]?.node as string);
    expectAlike(placed, nodes, 50);
    const [dead, ...others] = nodes;
    const left = names.filter((_, i) => placed[i] === dead?.id);
    const takenOver = left.map((name) => plan({ name, workers: 1, running: true }, others, []).start[0]?.node as string);
    expectAlike(takenOver, others, left.length / others.length);
  });
});

/** Within five standard deviations of what chance would do. */
function expectAlike(placed: readonly string[], nodes: readonly PlanNode[], mean: number): void {
  for (const { id } of nodes) {
    const count = placed.filter((node) => node === id).length;
    expect(Math.abs(count - mean)).toBeLessThanOrEqual(5 * Math.sqrt(mean));
  }
}

/** By trying all even spreads: the fewest slots that have to leave their nodes. */
function fewestMoves(cluster: Cluster, counts: readonly number[]): number {
  const total = Math.min(wantedOf(cluster), capacityOf(cluster));
  let fewest = Number.POSITIVE_INFINITY;
  const spread = (i: number, left: number, targets: number[]): void => {
    if (i < cluster.nodes.length) {
      for (let n = 0; n <= Math.min(left, cluster.nodes[i]?.capacity ?? 0); n++) spread(i + 1, left - n, [...targets, n]);
      return;
    }
    const most = Math.max(0, ...targets);
    const even = targets.every((target, j) => target >= Math.min(cluster.nodes[j]?.capacity ?? 0, most - 1));
    if (left > 0 || !even) return;
    fewest = Math.min(
      fewest,
      counts.reduce((sum, count, j) => sum + Math.max(0, count - (targets[j] ?? 0)), 0),
    );
  };
  spread(0, total, []);
  return fewest;
}
