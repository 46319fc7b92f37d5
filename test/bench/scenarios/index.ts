import type { ScenarioId } from '../harness/job.js';
import { handoff } from './handoff.js';
import { holding } from './holding.js';
import type { Scenario } from './scenario.js';
import { uncontended } from './uncontended.js';

/** All scenarios, in the order in which they run. */
export const scenarios: readonly Scenario[] = [uncontended, handoff, holding];

export const scenarioIds: readonly ScenarioId[] = scenarios.map((scenario) => scenario.id);
