import { describe, expect, it } from 'vitest';
import { HandoffRecorder } from './handoff-recorder.js';

/** Negative controls: the bench's claims about order and exclusion rest on these counters. */
describe('HandoffRecorder', () => {
  /** In its window, the gate open. */
  function begun(waiters: number): HandoffRecorder {
    const recorder = new HandoffRecorder(waiters);
    recorder.releasing();
    recorder.begin();
    return recorder;
  }

  it('counts nothing when everyone is served in order', () => {
    const recorder = begun(2);
    let tickets = [recorder.asked(0), recorder.asked(1)];
    for (let round = 0; round < 3; round++) {
      tickets = tickets.map((ticket, waiter) => {
        recorder.granted(waiter, ticket);
        recorder.releasing();
        return recorder.asked(waiter);
      });
    }
    const metrics = recorder.end();
    expect(metrics).toMatchObject({ outOfOrder: 0, overlaps: 0, servedMin: 3, servedMax: 3, neverServed: 0, reacquiredPerSecond: 0 });
    expect(metrics.changesPerSecond).toBeGreaterThan(0);
  });

  it('sees two holders at once', () => {
    const recorder = begun(2);
    const tickets = [recorder.asked(0), recorder.asked(1)] as const;
    recorder.granted(0, tickets[0]);
    recorder.granted(1, tickets[1]);
    expect(recorder.end()).toMatchObject({ overlaps: 1 });
  });

  it('sees every grant that overtakes an earlier waiter, and who was never served', () => {
    const recorder = begun(3);
    const tickets = [recorder.asked(0), recorder.asked(1), recorder.asked(2)] as const;
    for (const waiter of [1, 2] as const) {
      recorder.granted(waiter, tickets[waiter]);
      recorder.releasing();
    }
    expect(recorder.end()).toMatchObject({ outOfOrder: 2, neverServed: 1, servedMin: 0, servedMax: 1 });
  });

  it('does not count the same waiter again as a hand-off, and lets its clock run on', () => {
    const recorder = begun(2);
    const first = recorder.asked(0);
    const other = recorder.asked(1);
    recorder.granted(0, first);
    recorder.releasing();
    const releasedMs = performance.now();
    recorder.granted(0, recorder.asked(0));
    while (performance.now() - releasedMs < 5);
    recorder.releasing();
    recorder.granted(1, other);
    const metrics = recorder.end();
    expect(metrics.reacquiredPerSecond).toBeGreaterThan(0);
    expect(metrics.handoffP99Ms).toBeGreaterThanOrEqual(5);
  });
});
