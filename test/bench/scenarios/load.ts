import type { Contender } from '../contenders/contender.js';
import type { Job, Mark } from '../harness/job.js';
import type { Metrics } from '../harness/stats.js';

/** Puts the load of a scenario on a contender, in the client process. Calls `mark` twice, around the measured window. */
export type Load = (contender: Contender, job: Job, mark: Mark) => Promise<Metrics>;
