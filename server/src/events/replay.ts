import { list } from '../engine/codec.js';
import type { NamespaceEngine } from '../engine/namespace-engine.js';
import { depthOf } from './feed-names.js';
import { fromEntry, type Position, type Publication } from './publication.js';
import { positionOutOfRange } from './refusals.js';

/** Publications read in one step. */
const PAGE = 200;

/**
 * `broken`: something is missing before what comes next, which begins after the position. `end`: all up to the position is told.
 */
export type ReplayStep =
  | { readonly type: 'publication'; readonly publication: Publication }
  | { readonly type: 'broken' | 'end'; readonly position: Position };

export interface ReplayedFeed {
  readonly name: string;
  /** It keeps a history even if nothing is known of it: it is a prefix, or the configuration says so. */
  readonly keeps: boolean;
}

/**
 * Reads what a feed has kept since a position, and proves it complete: each publication names the one before it, and the feed its last
 * one. A position of another epoch is broken at once; then everything that is kept follows.
 * @throws {StafettError} POSITION_OUT_OF_RANGE, REDIS_UNAVAILABLE
 */
export async function* replay(
  engine: NamespaceEngine,
  { name: feed, keeps }: ReplayedFeed,
  since: Position,
): AsyncGenerator<ReplayStep, void, undefined> {
  const depth = depthOf(feed);
  let { epoch, offset } = since;
  let from = offset;
  let whole = true;
  while (true) {
    const [, now, entries, last, more, tail, end, size] = await engine.run<'replay'>(['replay', feed, from, PAGE]);
    if (now !== epoch) {
      [epoch, from, offset, whole] = [now, 0, 0, false];
      continue;
    }
    if (offset > end) throw positionOutOfRange(feed);
    for (const entry of list(entries)) {
      const publication = fromEntry(epoch, entry);
      const before = publication.before[depth] ?? 0;
      if (before > offset || !whole) yield { type: 'broken', position: { epoch, offset: before } };
      whole = true;
      offset = publication.offset;
      yield { type: 'publication', publication };
    }
    from = last;
    if (more) continue;
    if (tail > offset || !whole || (size === 0 && !keeps)) yield { type: 'broken', position: { epoch, offset: end } };
    // Whatever is published later has a higher offset than the namespace's last one.
    yield { type: 'end', position: { epoch, offset: end } };
    return;
  }
}
