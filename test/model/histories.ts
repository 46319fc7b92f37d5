import fc, { type IAsyncProperty } from 'fast-check';
import { type EngineHarness, type HarnessLimits, SERVERS } from '../support/engine-harness.js';
import { ModelRun } from './model-run.js';
import { Resolver } from './resolve.js';
import { limits, NAMES, SLOTS, type Step, step } from './steps.js';

const STEPS_MAX = 30;

/** Holds if the engine does what the model says, whatever commands come, and leaves nothing behind. */
export function commandsHistory(harness: () => EngineHarness, onCall?: ModelRun['onCall']): IAsyncProperty<[HarnessLimits, Step[]]> {
  const steps = fc.array(step, { minLength: 1, maxLength: STEPS_MAX, size: 'max' });
  return fc.asyncProperty(limits, steps, async (someLimits, someSteps) => {
    const run = await ModelRun.start(harness(), NAMES, someLimits);
    run.onCall = onCall;
    const resolver = new Resolver(run);
    const opening = Array.from({ length: SLOTS }, (_, slot) => ({ op: 'open' as const, slot, ttlMs: 1_500 + 1_500 * slot }));
    await run.call(SERVERS[0], resolver.commands({ advance: { by: 'no' }, server: SERVERS[0], ops: opening }));
    for (const each of someSteps) {
      await resolver.advance(each);
      await run.call(each.server, resolver.commands(each));
    }
    await run.tearDown();
  });
}
