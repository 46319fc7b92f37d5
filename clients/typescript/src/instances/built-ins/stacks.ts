import type { Profiler } from 'node:inspector';

interface Place {
  readonly node: Profiler.ProfileNode;
  readonly parent: number | undefined;
}

/** The stacks of a profile, innermost frame first, as a reader of stack traces expects them; those that were met most often on top. */
export function hotStacks({ nodes, samples = [] }: Profiler.Profile, countMax: number): string {
  const places = new Map<number, Place>(nodes.map((node) => [node.id, { node, parent: undefined }]));
  for (const node of nodes) {
    for (const child of node.children ?? []) places.set(child, { ...(places.get(child) as Place), parent: node.id });
  }
  const counts = new Map<string, number>();
  for (const id of samples) {
    const stack = framesOf(places, id);
    counts.set(stack, (counts.get(stack) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a).slice(0, countMax);
  return sorted
    .map(([stack, count]) => `  ${((100 * count) / samples.length).toFixed(1)} % of ${samples.length} samples\n${stack}\n`)
    .join('\n');
}

function framesOf(places: ReadonlyMap<number, Place>, id: number): string {
  const frames: string[] = [];
  for (let place = places.get(id); place?.parent !== undefined; place = places.get(place.parent)) {
    const { functionName, url, lineNumber, columnNumber } = place.node.callFrame;
    const at = url === '' ? '' : ` (${url}:${lineNumber + 1}:${columnNumber + 1})`;
    frames.push(`    at ${functionName || '(anonymous)'}${at}`);
  }
  return frames.join('\n');
}
