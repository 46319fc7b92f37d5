/**
 * Checks a recorded history of one namespace's locks, whatever recorded it. All times are Redis' clock, in ms; on one
 * machine that is `Date.now()` as well.
 */
export type HistoryEvent = Requested | Granted | Ended | Left;

/** An acquire that was made, granted at once or not. */
export interface Requested {
  readonly kind: 'requested';
  readonly id: string;
  readonly names: readonly string[];
  /** When it began to queue, or the earliest that it can have. */
  readonly at: number;
  /** The latest that it can have, if that is not `at`. Who surely came first is then not overtaken. */
  readonly queuedBy?: number;
  /** Its context holds locks: it may pass others. */
  readonly nested?: boolean;
}

export interface Granted {
  readonly kind: 'granted';
  readonly id: string;
  readonly names: readonly string[];
  readonly token: number | bigint;
  readonly at: number;
}

/** The end of a grant. One that is not recorded lasts to the end of the history. */
export interface Ended {
  readonly kind: 'ended';
  readonly id: string;
  readonly at: number;
  readonly how: 'RELEASED' | 'EXPIRED' | 'FORCED' | 'SESSION_CLOSED';
}

/** A waiter that gave up, or whose session ended. */
export interface Left {
  readonly kind: 'left';
  readonly id: string;
  readonly at: number;
}

export interface Problem {
  readonly kind: 'malformed' | 'overlap' | 'token' | 'overtaken' | 'forgotten';
  readonly message: string;
}

export interface CheckOptions {
  /** How long a free name may have somebody who could take it, ms. Default 250. */
  readonly handOffMs?: number;
  /** Until when was looked. Default: the last event. */
  readonly until?: number;
}

/** One acquire, from the request to the end. */
interface Story {
  readonly id: string;
  readonly names: readonly string[];
  readonly nested: boolean;
  /** It queued between these two, or from its grant on if nobody asked before. */
  readonly queuedFrom: number;
  readonly queuedBy: number;
  readonly grantedAt: number;
  readonly token: bigint;
  /** When the grant ended, or the waiter left. */
  readonly endedAt: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/** What is wrong with the history; nothing, if all is well. */
export function checkHistory(events: readonly HistoryEvent[], { handOffMs = 250, until }: CheckOptions = {}): Problem[] {
  const problems: Problem[] = [];
  const report = (kind: Problem['kind'], message: string) => problems.push({ kind, message });
  const stories = tell(events, report);
  const lastAt = until ?? Math.max(0, ...events.map(({ at }) => at));
  checkTokens(stories, report);
  checkOverlaps(stories, report);
  checkOrder(stories, report);
  checkHandOffs(stories, handOffMs, lastAt, report);
  return problems;
}

type Report = (kind: Problem['kind'], message: string) => void;

function tell(events: readonly HistoryEvent[], report: Report): Story[] {
  const byId = new Map<string, HistoryEvent[]>();
  for (const event of events) append(byId, event.id, event);
  return [...byId].map(([id, own]) => {
    const requested = own.find((event) => event.kind === 'requested');
    const granted = own.find((event) => event.kind === 'granted');
    const ended = own.find((event) => event.kind === 'ended' || event.kind === 'left');
    const names = granted?.names ?? requested?.names ?? [];
    const story: Story = {
      id,
      names,
      nested: requested?.nested ?? false,
      queuedFrom: requested?.at ?? granted?.at ?? NEVER,
      queuedBy: Math.min(requested?.queuedBy ?? requested?.at ?? NEVER, granted?.at ?? NEVER),
      grantedAt: granted?.at ?? NEVER,
      token: BigInt(granted?.token ?? 0),
      endedAt: ended?.at ?? NEVER,
    };
    if (new Set(own.map(({ kind }) => kind)).size < own.length) report('malformed', `${id}: the same twice`);
    if (!granted && !requested) report('malformed', `${id} ends, and never began`);
    if (!granted && ended?.kind === 'ended') report('malformed', `${id} ends, and was never granted`);
    if (granted && story.queuedFrom > granted.at) report('malformed', `${id} was granted at ${granted.at}, before it was asked for`);
    if (granted && ended && ended.at < granted.at)
      report('malformed', `${id} ended at ${ended.at}, before it was granted at ${granted.at}`);
    return story;
  });
}

const isGranted = ({ grantedAt }: Story): boolean => grantedAt < NEVER;

/** By time; within one ms the tokens tell. */
function byGrant(a: Story, b: Story): number {
  return a.grantedAt - b.grantedAt || (a.token < b.token ? -1 : Number(a.token > b.token));
}

/** Every later grant of the namespace has a higher token. */
function checkTokens(stories: readonly Story[], report: Report): void {
  const grants = stories.filter(isGranted).sort(byGrant);
  for (const [i, grant] of grants.entries()) {
    const before = grants[i - 1];
    if (before && grant.token <= before.token) {
      report('token', `${show(grant)} has token ${grant.token}, and ${show(before)} had ${before.token} before`);
    }
  }
}

/** No name is held twice at one moment. A hand-off may take no time at all. */
function checkOverlaps(stories: readonly Story[], report: Report): void {
  for (const [name, grants] of byName(stories.filter(isGranted))) {
    grants.sort(byGrant);
    let last = grants[0] as Story;
    for (const grant of grants.slice(1)) {
      if (last.endedAt > grant.grantedAt) report('overlap', `${name} was given to ${show(grant)} while ${show(last)} held it`);
      if (grant.endedAt >= last.endedAt) last = grant;
    }
  }
}

/** Nobody but a nested acquire is granted a name while another waits for it that surely came before. */
function checkOrder(stories: readonly Story[], report: Report): void {
  for (const [name, own] of byName(stories)) {
    const arrivals = own.toSorted((a, b) => a.queuedBy - b.queuedBy);
    let waiting: Story[] = [];
    let next = 0;
    for (const grant of own.filter(isGranted).sort(byGrant)) {
      for (; next < arrivals.length && (arrivals[next] as Story).queuedBy < grant.queuedFrom; next++) waiting.push(arrivals[next] as Story);
      waiting = waiting.filter((each) => each !== grant && stillWaits(each, grant));
      const overtaken = grant.nested ? undefined : waiting.find(({ queuedBy }) => queuedBy < grant.queuedFrom);
      if (overtaken) report('overtaken', `${name} was given to ${show(grant)}, and ${show(overtaken)} had waited for it longer`);
    }
  }
}

/** Does the waiter still wait when the other is granted? */
function stillWaits(waiter: Story, grant: Story): boolean {
  return isGranted(waiter) ? byGrant(waiter, grant) > 0 : waiter.endedAt > grant.grantedAt;
}

function byName(stories: readonly Story[]): Map<string, Story[]> {
  const lists = new Map<string, Story[]>();
  for (const story of stories) {
    for (const name of story.names) append(lists, name, story);
  }
  return lists;
}

function append<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key);
  if (list) list.push(item);
  else lists.set(key, [item]);
}

const show = ({ id, token, grantedAt, queuedFrom }: Story): string =>
  token > 0n ? `${id} (token ${token}, at ${grantedAt})` : `${id} (since ${queuedFrom})`;

interface Place {
  held: number;
  readonly waiters: Set<Story>;
  /** Since when somebody who waits for it could have it. */
  servableSince: number;
}

/** No name stays free while somebody waits for it who could have it. */
function checkHandOffs(stories: readonly Story[], handOffMs: number, until: number, report: Report): void {
  const places = new Map<string, Place>();
  for (const name of byName(stories).keys()) places.set(name, { held: 0, waiters: new Set(), servableSince: NEVER });
  const look = (now: number) => {
    for (const [name, place] of places) {
      const first = now < until ? firstServable(name, places) : undefined;
      if (first && place.servableSince === NEVER) place.servableSince = now;
      if (first || place.servableSince === NEVER) continue;
      if (now - place.servableSince > handOffMs) {
        report('forgotten', `${name} was free from ${place.servableSince} to ${now}, and somebody waited for it who could have had it`);
      }
      place.servableSince = NEVER;
    }
  };
  const changes = timeline(stories, until);
  for (const [i, { at, apply }] of changes.entries()) {
    apply(places);
    if (changes[i + 1]?.at !== at) look(at);
  }
  look(until);
}

interface Change {
  readonly at: number;
  apply(places: Map<string, Place>): void;
}

/** When each acquire begins and ceases to wait and to hold; what takes no time is left out. */
function timeline(stories: readonly Story[], until: number): Change[] {
  const changes: Change[] = [];
  const during = (from: number, to: number, names: readonly string[], change: (place: Place, begins: boolean) => void) => {
    if (from >= to || from > until) return;
    const applyTo = (begins: boolean) => (places: Map<string, Place>) => {
      for (const name of names) change(places.get(name) as Place, begins);
    };
    changes.push({ at: from, apply: applyTo(true) });
    if (to <= until) changes.push({ at: to, apply: applyTo(false) });
  };
  for (const story of stories) {
    const { names, queuedBy, grantedAt, endedAt } = story;
    during(
      queuedBy,
      Math.min(grantedAt, endedAt),
      names,
      ({ waiters }, begins) => void (begins ? waiters.add(story) : waiters.delete(story)),
    );
    during(grantedAt, endedAt, names, (place, begins) => {
      place.held += begins ? 1 : -1;
    });
  }
  return changes.sort((a, b) => a.at - b.at);
}

/** Somebody who could surely have the name: whoever may be first in line wants only this name, or is first everywhere. */
function firstServable(name: string, places: Map<string, Place>): Story | undefined {
  const first = possiblyFirst(name, places);
  if (first.every(({ names }) => names.length === 1)) return first[0];
  const [only, ...others] = first;
  if (!only || others.length > 0) return undefined;
  const isFirst = (each: string) => {
    const line = possiblyFirst(each, places);
    return line.length === 1 && line[0] === only;
  };
  return only.names.every(isFirst) ? only : undefined;
}

/** Who may be first in line for a free name; nobody, if it is held. */
function possiblyFirst(name: string, places: Map<string, Place>): Story[] {
  const { held, waiters } = places.get(name) as Place;
  if (held > 0 || waiters.size === 0) return [];
  let surelyBy = NEVER;
  for (const { queuedBy } of waiters) surelyBy = Math.min(surelyBy, queuedBy);
  return [...waiters].filter(({ queuedFrom }) => queuedFrom <= surelyBy);
}
