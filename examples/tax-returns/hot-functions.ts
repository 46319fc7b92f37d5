import type { Profiler } from 'node:inspector';
import { basename } from 'node:path';

/** A function by itself, without what it calls. */
export interface HotFunction {
  readonly name: string;
  readonly file: string;
  /** Of the whole time that was sampled. */
  readonly percent: number;
}

/** What V8 calls the time that no function took. */
const NOBODY = new Set(['(root)', '(idle)', '(program)']);

/** Those that took the most time, first of all. */
export function hotFunctions({ nodes }: Profiler.Profile, count: number): HotFunction[] {
  const samples = nodes.reduce((sum, { hitCount = 0 }) => sum + hitCount, 0);
  const functions = new Map<string, HotFunction>();
  for (const { callFrame, hitCount = 0 } of nodes) {
    const { functionName, url } = callFrame;
    if (NOBODY.has(functionName)) continue;
    const file = basename(url);
    const key = `${file} ${functionName}`;
    const percent = (functions.get(key)?.percent ?? 0) + (100 * hitCount) / samples;
    functions.set(key, { name: functionName || '(anonymous)', file, percent });
  }
  return [...functions.values()].sort((a, b) => b.percent - a.percent).slice(0, count);
}
