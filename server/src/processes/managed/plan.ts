/** What a managed process is to be. */
export interface PlanConfig {
  readonly name: string;
  readonly workers: number;
  readonly running: boolean;
}

/** A node that lives. */
export interface PlanNode {
  readonly id: string;
  readonly capacity: number;
}

/** A slot in somebody's hands. */
export interface PlanSlot {
  readonly slot: number;
  /** Who has it, which may be no node any more. */
  readonly node: string;
  /** Its worker was told to stop. */
  readonly draining: boolean;
}

export interface Plan {
  /** Slots that nobody has, and who is to have them. */
  readonly start: readonly { readonly slot: number; readonly node: string }[];
  /** Slots that are no longer wanted where they are. */
  readonly drain: readonly number[];
  /** Slots that are wanted, but better elsewhere: to be drained when it is time to move. */
  readonly move: readonly number[];
}

interface Share {
  readonly id: string;
  /** How many workers it may keep or get: those that are stopping there take their part of its capacity, but drive nobody out. */
  readonly room: number;
  /** Slots that it has and is not asked to drain, ascending. */
  readonly kept: number[];
  target: number;
}

/**
 * Who is to have which slot: spread evenly (nodes differ by one at the most) within the nodes' capacities, and otherwise with as few
 * moves as possible. Pure, and the same for the same input in whatever order, so that it does not matter which server
 * plans; what it asks for is settled after one step. Which nodes get what cannot be divided is decided by `weightOf`.
 *
 * No slot is started while as many are in somebody's hands as there are to be workers, wanted or not: so there are never more.
 */
export function plan({ name, workers, running }: PlanConfig, nodes: readonly PlanNode[], slots: readonly PlanSlot[]): Plan {
  const wanted = running ? workers : 0;
  const shares = toShares(name, nodes, slots, wanted);
  const drain = slots.filter(({ slot, draining }) => !draining && slot >= wanted).map(({ slot }) => slot);
  for (const { room, kept } of shares) drain.push(...kept.splice(room)); // its capacity was lowered
  setTargets(shares, wanted);
  const start = assign(shares, free(slots, wanted));
  const move = shares.flatMap(({ kept, target }) => kept.slice(target));
  return { start, drain: drain.toSorted(byNumber), move: move.toSorted(byNumber) };
}

/**
 * How much a process prefers a node: another order of the nodes for each process, so that many processes with one worker each do not all
 * end up at the same node, and those of a node that dies go to all others alike. Rendezvous hashing (Thaler and Ravishankar, 1998), with
 * FNV-1a and the finalizer of MurmurHash3 as the hash.
 */
function weightOf(process: string, node: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${process}\0${node}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Those that the process prefers first. */
function toShares(name: string, nodes: readonly PlanNode[], slots: readonly PlanSlot[], wanted: number): Share[] {
  const shares = new Map(nodes.map(({ id, capacity }) => [id, { id, capacity, draining: 0, kept: [] as number[] }]));
  for (const { slot, node, draining } of slots) {
    const share = shares.get(node);
    if (share && (draining || slot >= wanted)) share.draining++;
    else share?.kept.push(slot);
  }
  return [...shares.values()]
    .map(({ id, capacity, draining, kept }) => {
      const room = Math.max(Math.min(capacity, kept.length), capacity - draining);
      return { id, room, kept: kept.toSorted(byNumber), target: 0, weight: weightOf(name, id) };
    })
    .toSorted((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1));
}

/** As many as possible to each alike; what cannot be divided stays where most are already. */
function setTargets(shares: Share[], wanted: number): void {
  let left = wanted;
  let open = shares.filter(({ room }) => room > 0);
  while (left >= open.length && open.length > 0) {
    for (const share of open) share.target++;
    left -= open.length;
    open = open.filter(({ room, target }) => room > target);
  }
  const byNeed = open.toSorted((a, b) => b.kept.length - a.kept.length);
  for (const share of byNeed.slice(0, left)) share.target++;
}

/** The slots that nobody has, as far as they may be started. */
function free(slots: readonly PlanSlot[], wanted: number): number[] {
  const taken = new Set(slots.map(({ slot }) => slot));
  const numbers = Array.from({ length: wanted }, (_, slot) => slot).filter((slot) => !taken.has(slot));
  return numbers.slice(0, Math.max(0, wanted - slots.length));
}

/** Each to the node that lacks most. */
function assign(shares: readonly Share[], slots: readonly number[]): { slot: number; node: string }[] {
  const lacking = shares.map(({ id, kept, target }) => ({ id, lack: target - kept.length, has: kept.length }));
  const start: { slot: number; node: string }[] = [];
  for (const slot of slots) {
    const [first] = lacking.filter(({ lack }) => lack > 0).toSorted((a, b) => b.lack - a.lack || a.has - b.has);
    if (!first) break;
    start.push({ slot, node: first.id });
    first.lack--;
    first.has++;
  }
  return start;
}

function byNumber(a: number, b: number): number {
  return a - b;
}
