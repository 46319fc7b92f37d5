import type { Told } from './events.js';
import type { Observation } from './observer.js';

/** From when to when a fault may have made Redis forget, or set its clock, µs: what was seen before says nothing of after. */
export interface Era {
  readonly from: number;
  to: number;
}

/** Somebody who was granted a name. */
interface Granted {
  readonly token: bigint;
  readonly at: number;
}

/** Looks for those who were served before somebody who stood before them in the queue all the time. Sound: what it reports did happen. */
export function findOvertakings(observations: readonly Observation[], events: readonly Told[], eras: readonly Era[]): string[] {
  const grants = grantsOf(events);
  const found = new Set<string>();
  for (const { name, queue, from } of observations) {
    let before: { who: string; grant: Granted } | undefined; // of those further in front the one who was served last
    for (const who of queue) {
      const grant = grants.get(`${name}/${who}`);
      if (!grant || isVoid(from, grant.at, eras)) continue;
      if (before && before.grant.token > grant.token && !isNested(who)) {
        found.add(
          `overtaken: ${who} (token ${grant.token}) had ${name} before ${before.who} (token ${before.grant.token}), who stood before it`,
        );
      }
      if (!before || grant.token > before.grant.token) before = { who, grant };
    }
  }
  return [...found];
}

/** Looks for grants of one name that were in force at the same time by the clock of Redis. */
export function findOverlapsInRedisTime(observations: readonly Observation[], eras: readonly Era[]): string[] {
  const found = new Set<string>();
  for (const { name, past, from, to } of observations) {
    if (eras.some((era) => era.from <= to && from <= era.to)) continue;
    const sorted = past.toSorted((a, b) => Number(a.token - b.token));
    for (const [i, next] of sorted.entries()) {
      const last = sorted[i - 1];
      if (last && last.until > next.since)
        found.add(`overlap in Redis' time: ${name} with token ${last.token} until ${last.until}, with ${next.token} since ${next.since}`);
    }
  }
  return [...found];
}

/** Each is granted once, or its transaction had to ask again: then nothing is said of it. */
function grantsOf(events: readonly Told[]): Map<string, Granted> {
  const grants = new Map<string, Granted>();
  for (const event of events) {
    if (event.kind !== 'granted') continue;
    for (const [name, token] of Object.entries(event.tokens))
      grants.set(`${name}/${event.session}/${event.id}`, { token: BigInt(token), at: event.at });
  }
  return grants;
}

function isVoid(from: number, to: number, eras: readonly Era[]): boolean {
  return eras.some((era) => era.from <= to && from <= era.to);
}

/** A nested acquire may overtake one that waits for it. */
function isNested(who: string): boolean {
  return who.endsWith('n');
}
