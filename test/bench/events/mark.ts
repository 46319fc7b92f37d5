/** What is published: its number, when it was published, and something to make it as long as a small event. */
export interface Mark {
  readonly n: number;
  /** By the clock that all processes of the machine share, ms. */
  readonly at: number;
}

const PADDING = 'x'.repeat(64);

export function toMark(n: number) {
  return { n, at: clockMs(), padding: PADDING };
}

/** All marks in a message, of whatever protocol: so that no codec is measured but the server's. */
export function marksIn(message: string): Mark[] {
  return [...message.matchAll(/\{"n":(\d+),"at":([\d.]+)/g)].map(([, n, at]) => ({ n: Number(n), at: Number(at) }));
}

/** Monotonic, and the same in all processes of the machine. */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
