import type { Granted, HistoryEvent, Problem, Requested } from '../support/history-checker.js';
import type { Rng } from '../support/rng.js';

/** Makes a good history one that has this problem; undefined if there is no place for it. */
export type Falsifier = (events: readonly HistoryEvent[], rng: Rng) => HistoryEvent[] | undefined;

interface Grant {
  readonly asked: Requested;
  readonly given: Granted;
  readonly endedAt: number;
}

export const FALSIFIERS: Record<Exclude<Problem['kind'], 'malformed'>, Falsifier> = {
  token: (events, rng) => {
    const pair = pickPair(grantsOf(events), rng, (a, b) => a.given.at < b.given.at);
    if (!pair) return undefined;
    const [{ given: a }, { given: b }] = pair;
    return replace(events, [a, { ...a, token: b.token }], [b, { ...b, token: a.token }]);
  },

  overlap: (events, rng) => {
    const pair = pickPair(grantsOf(events), rng, (a, b) => share(a, b) && a.endedAt <= b.given.at);
    if (!pair) return undefined;
    const [{ given: a }, { given: b }] = pair;
    return events.map((event) => (event.kind === 'ended' && event.id === a.id ? { ...event, at: b.at + 1 } : event));
  },

  /** Two that waited for the same names change places. */
  overtaken: (events, rng) => {
    const pair = pickPair(grantsOf(events), rng, (a, b) => isOvertaking(a, b));
    if (!pair) return undefined;
    const [{ given: a }, { given: b }] = pair;
    const swapped = new Map([
      [a.id, b.id],
      [b.id, a.id],
    ]);
    return events.map((event) => (event.kind === 'requested' ? event : { ...event, id: swapped.get(event.id) ?? event.id }));
  },

  /** One that was served in its turn, and held the lock for a while, is not served. */
  forgotten: (events, rng) => {
    const served = grantsOf(events).filter(({ asked, given, endedAt }) => !asked.nested && asked.at < given.at && given.at < endedAt);
    if (served.length === 0) return undefined;
    const { given } = rng.pick(served);
    return events.filter((event) => event.id !== given.id || event.kind === 'requested');
  },
};

function isOvertaking(a: Grant, b: Grant): boolean {
  const same = a.given.names.join() === b.given.names.join();
  return same && !b.asked.nested && a.asked.at < b.asked.at && b.asked.at <= a.given.at && a.given.token < b.given.token;
}

function share(a: Grant, b: Grant): boolean {
  return a.given.token < b.given.token && a.given.names.some((name) => b.given.names.includes(name));
}

function grantsOf(events: readonly HistoryEvent[]): Grant[] {
  const find = <K extends HistoryEvent['kind']>(kind: K, id: string) =>
    events.find((event): event is Extract<HistoryEvent, { kind: K }> => event.kind === kind && event.id === id);
  return events
    .filter((event) => event.kind === 'granted')
    .flatMap((given) => {
      const [asked, ended] = [find('requested', given.id), find('ended', given.id)];
      return asked && ended ? [{ asked, given, endedAt: ended.at }] : [];
    });
}

function pickPair(grants: readonly Grant[], rng: Rng, fits: (a: Grant, b: Grant) => boolean): [Grant, Grant] | undefined {
  const pairs = grants.flatMap((a) => grants.filter((b) => fits(a, b)).map((b): [Grant, Grant] => [a, b]));
  return pairs.length > 0 ? rng.pick(pairs) : undefined;
}

function replace(events: readonly HistoryEvent[], ...changes: (readonly [HistoryEvent, HistoryEvent])[]): HistoryEvent[] {
  const changed = new Map(changes);
  return events.map((event) => changed.get(event) ?? event);
}
