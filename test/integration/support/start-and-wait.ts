import { plainEnv, startProcess } from '../../support/process.js';

// A test process that starts something and never ends it: see stack.test.ts.
const { pid } = startProcess('sleep', ['1000'], plainEnv());
process.send?.(pid);
setInterval(() => {}, 1_000);
