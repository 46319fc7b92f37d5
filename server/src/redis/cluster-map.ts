import { SLOTS } from './slots.js';
import type { HostPort } from './target.js';

/** A node as one of them sees it. */
export interface ClusterNode extends HostPort {
  readonly id: string;
  readonly ip: string;
  readonly isMaster: boolean;
  /** Most of the masters agree that it is gone. */
  readonly hasFailed: boolean;
  /** Whoever has the higher one knows better who has a slot. */
  readonly epoch: number;
  /** From and to, both inclusive. */
  readonly ranges: readonly (readonly [number, number])[];
}

export interface ClusterMap {
  /** All that are there. */
  readonly nodes: readonly HostPort[];
  /** Those that have slots, or could get some. */
  readonly masters: readonly ClusterNode[];
  /** Of each slot; undefined where nobody has it. */
  readonly owners: readonly (ClusterNode | undefined)[];
}

const LINE = /^(\w+) (\S*):(\d+)@\d+(?:,([^,\s]*))?\S* (\S+) \S+ \d+ \d+ (\d+) \S+ ?(.*)$/;
const RANGE = /(?:^| )(\d+)(?:-(\d+))?(?= |$)/g;

/**
 * Reads the answer to CLUSTER NODES. A node is called by its IP address, but over TLS by the name that it announces, if it does: certificates
 * are made out to names. `asked`: who answered, which a node that does not know its own address leaves out.
 */
export function parseNodes(text: string, asked: HostPort, tls: boolean): ClusterNode[] {
  return text.split('\n').flatMap((line) => {
    const [, id = '', address = '', port, hostname = '', flagList = '', epoch, slots = ''] = LINE.exec(line.trimEnd()) ?? [];
    const flags = flagList.split(',');
    const ip = address === '' && flags.includes('myself') ? asked.host : address.replace(/^\[(.*)\]$/, '$1');
    if (ip === '' || Number(port) === 0 || flags.includes('noaddr') || flags.includes('handshake')) return [];
    const host = tls && hostname !== '' ? hostname : ip;
    const ranges = [...slots.matchAll(RANGE)].map(([, from, to = from]) => [Number(from), Number(to)] as const);
    const isMaster = flags.includes('master');
    return [{ id, ip, host, port: Number(port), isMaster, hasFailed: flags.includes('fail'), epoch: Number(epoch), ranges }];
  });
}

/** What several nodes know together: of two that claim a slot, the one with the higher epoch has it. */
export function mergeNodes(answers: readonly (readonly ClusterNode[])[]): ClusterMap {
  const latest = new Map<string, ClusterNode>();
  const owners = new Array<ClusterNode | undefined>(SLOTS).fill(undefined);
  for (const node of answers.flat()) {
    const known = latest.get(node.id);
    if (known === undefined || node.epoch > known.epoch || (node.epoch === known.epoch && node.hasFailed)) latest.set(node.id, node);
    for (const [from, to] of node.ranges) {
      for (let slot = from; slot <= to; slot++) {
        if (node.epoch > (owners[slot]?.epoch ?? -1)) owners[slot] = node;
      }
    }
  }
  const all = [...latest.values()];
  const there = all.filter(({ hasFailed }) => !hasFailed);
  const owning = new Set(owners.map((owner) => owner?.id));
  return {
    nodes: there.length > 0 ? there : all,
    masters: all.filter(({ id, isMaster, hasFailed }) => owning.has(id) || (isMaster && !hasFailed)),
    owners,
  };
}
