import type { ChaosEvent, Told } from './events.js';
import type { Era } from './order.js';

type Of<K extends ChaosEvent['kind']> = Told<Extract<ChaosEvent, { kind: K }>>;

const SUBSCRIPTIONS = ['news/all', 'news/*'];

/** What a subscriber was told since it last heard that something may be missing. */
class View {
  readonly #heard = new Map<number, string>();
  readonly #publications = new Set<string>();
  #last: number;

  constructor(private readonly begin: Of<'subscribed'>) {
    this.#last = begin.offset;
  }

  /** @returns what is wrong with it, if anything */
  hear(event: Of<'heard'>): string[] {
    const { epoch, offset } = event;
    const what = show(event.from, event);
    const found = [];
    if (epoch !== this.begin.epoch) found.push(`gap not told: ${this.#name} heard ${what} of another epoch`);
    else if (offset <= this.#last) found.push(`out of order: ${this.#name} heard ${what} after ${this.#last}`);
    else if (this.#publications.has(publication(event.from, event))) found.push(`published twice: ${what}, as ${this.#name} heard`);
    this.#publications.add(publication(event.from, event));
    this.#heard.set(offset, publication(event.from, event));
    this.#last = Math.max(this.#last, offset);
    return found;
  }

  /** @returns what is wrong with it, if anything */
  resume({ epoch, offset }: Of<'subscribed'>): string[] {
    return epoch === this.begin.epoch ? [] : [`gap not told: ${this.#name} goes on at ${offset} in another epoch`];
  }

  /** Another epoch is the only reason why a subscriber of a channel with a long history may miss something. @returns what is wrong with it */
  end({ epoch }: Of<'subscribed'>): string[] {
    const isForNothing = epoch === this.begin.epoch && this.#heard.size > 0;
    return isForNothing ? [`gap told for nothing: ${this.#name} was at ${this.#last} of ${epoch}`] : [];
  }

  /** What was confirmed up to the last that was heard, and did not come. */
  missing(confirmed: readonly Of<'published'>[]): string[] {
    const due = confirmed.filter(({ epoch, offset }) => epoch === this.begin.epoch && offset > this.begin.offset && offset <= this.#last);
    const lost = due.filter((event) => this.#heard.get(event.offset) !== publication(event.client, event));
    return lost.map((event) => `missing: ${this.#name} did not hear ${show(event.client, event)}, but ${this.#last}`);
  }

  get #name(): string {
    return `${this.begin.client} (${this.begin.subscription})`;
  }
}

/** Looks for what subscribers missed, or had twice or out of order, without being told. Sound: what it reports did happen. */
export function findGaps(events: readonly Told[]): string[] {
  const found: string[] = [];
  const views: View[] = [];
  const current = new Map<string, View>();
  for (const event of events) {
    if (event.kind !== 'subscribed' && event.kind !== 'heard') continue;
    const id = `${event.client} ${event.subscription}`;
    const view = current.get(id);
    if (event.kind === 'subscribed' && !event.recovered) {
      found.push(...(view?.end(event) ?? []));
      const next = new View(event);
      views.push(next);
      current.set(id, next);
    } else if (view) {
      found.push(...(event.kind === 'heard' ? view.hear(event) : view.resume(event)));
    } else {
      found.push(`gap not told: ${id} begins with ${event.kind}`);
    }
  }
  const confirmed = events.filter((event) => event.kind === 'published');
  return [...found, ...views.flatMap((view) => view.missing(confirmed))];
}

/**
 * Looks for settings that went back.
 * @param losses when Redis forgot while servers died: what only they knew may have gone with them
 */
export function findSettingsThatWentBack(events: readonly Told[], losses: readonly Era[]): string[] {
  const found: string[] = [];
  const last = new Map<string, Of<'read'>>();
  for (const event of events) {
    if (event.kind !== 'read') continue;
    const id = reader(event.client, event.by, event.of);
    const before = last.get(id);
    last.set(id, event);
    if (!before || before.value <= event.value || losses.some(({ from, to }) => from <= event.at && before.at <= to)) continue;
    found.push(`setting went back: ${id} was ${before.value} at ${before.at}, and ${event.value} at ${event.at} µs`);
  }
  return found;
}

/** Who of those that live has since then not heard of each of the others, or knows a setting as it was before what was confirmed by then. */
export function findBehind(events: readonly Told[], alive: readonly string[], since: number, losses: readonly Era[]): string[] {
  const heard = new Set<string>();
  const confirmed = new Map<string, number>();
  const read = new Map<string, number>();
  for (const event of events) {
    if (event.kind === 'heard' && event.at >= since && event.number >= since)
      heard.add(hearing(event.client, event.subscription, event.from));
    if (event.kind === 'set' && event.at <= since && !losses.some(({ to }) => event.at <= to)) confirmed.set(event.client, event.value);
    if (event.kind === 'read') read.set(reader(event.client, event.by, event.of), event.value);
  }
  const deaf = alive.flatMap((client) => SUBSCRIPTIONS.flatMap((what) => alive.map((from) => hearing(client, what, from))));
  const values = [...confirmed].flatMap(([of, value]) =>
    alive.flatMap((client) => (['watch', 'define'] as const).map((by) => ({ id: reader(client, by, of), value }))),
  );
  return [
    ...deaf.filter((each) => !heard.has(each)).map((each) => `${each} heard nothing`),
    ...values.filter(({ id, value }) => (read.get(id) ?? 0) < value).map(({ id, value }) => `${id} is ${read.get(id)}, not ${value}`),
  ];
}

function reader(client: string, by: string, of: string): string {
  return `${client} (${by}) setting of ${of}`;
}

function hearing(client: string, subscription: string, from: string): string {
  return `${client} (${subscription}) news of ${from}`;
}

function publication(from: string, { number }: { readonly number: number }): string {
  return `${number} of ${from}`;
}

function show(from: string, event: { readonly number: number; readonly epoch: string; readonly offset: number }): string {
  return `${publication(from, event)} at ${event.offset} of ${event.epoch}`;
}
