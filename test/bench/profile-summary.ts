// Shows where a CPU profile spent its time: tsx test/bench/profile-summary.ts FILE.cpuprofile [--skip SECONDS] [--top N]
// `--skip` leaves out the first seconds, such as the start of the process. Idle time is not counted.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { formatTable } from './harness/table.js';

interface ProfileNode {
  id: number;
  children?: number[];
  callFrame: { functionName: string; url: string; lineNumber: number };
}

interface Profile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
  startTime: number;
}

interface Times {
  bySelf: Map<string, number>;
  /** With everything that the function called. */
  byTotal: Map<string, number>;
  byPackage: Map<string, number>;
  busyUs: number;
  allUs: number;
}

/** Times in µs. */
function timesOf(profile: Profile, skipUs: number): Times {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const times: Times = { bySelf: new Map(), byTotal: new Map(), byPackage: new Map(), busyUs: 0, allUs: 0 };
  let elapsedUs = 0;
  profile.samples.forEach((id, index) => {
    const durationUs = profile.timeDeltas[index + 1] ?? 0; // a sample lasts until the next one
    elapsedUs += profile.timeDeltas[index] ?? 0;
    if (elapsedUs < skipUs) return;
    times.allUs += durationUs;
    const frame = nodes.get(id)?.callFrame;
    if (frame === undefined || frame.functionName === '(idle)') return;
    times.busyUs += durationUs;
    add(times.bySelf, nameOf(frame), durationUs);
    add(times.byPackage, packageOf(frame), durationUs);
    for (const name of stackOf(id, nodes, parents)) add(times.byTotal, name, durationUs);
  });
  return times;
}

/** The functions on the stack of a sample, each once; native ones have no name worth showing. */
function stackOf(sample: number, nodes: Map<number, ProfileNode>, parents: Map<number, number>): Set<string> {
  const stack = new Set<string>();
  for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) {
    const frame = nodes.get(id)?.callFrame;
    if (frame !== undefined && frame.url !== '') stack.add(nameOf(frame));
  }
  return stack;
}

function add(times: Map<string, number>, name: string, us: number): void {
  times.set(name, (times.get(name) ?? 0) + us);
}

function nameOf({ functionName, url, lineNumber }: ProfileNode['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name}  ${shorten(url)}:${lineNumber + 1}`;
}

function packageOf({ functionName, url }: ProfileNode['callFrame']): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)';
  if (url.startsWith('node:')) return 'node';
  const parts = url.split('/node_modules/');
  if (parts.length === 1) return /\/(server|clients\/typescript|test\/bench)\//.exec(url)?.[1] ?? url;
  return (parts.at(-1) ?? '')
    .split('/')
    .slice(0, parts.at(-1)?.startsWith('@') ? 2 : 1)
    .join('/');
}

function shorten(url: string): string {
  const path = url.split('/node_modules/').at(-1) ?? url;
  return path.replace(/^.*\/((server|clients|test)\/)/, '$1').replace(/^file:\/\//, '');
}

function print(title: string, times: Map<string, number>, busyUs: number, top: number): void {
  const rows = [...times].sort((a, b) => b[1] - a[1]).slice(0, top);
  console.log(
    formatTable(
      [title, '% of busy'],
      rows.map(([name, us]) => [name, ((100 * us) / busyUs).toFixed(1)]),
    ),
    '\n',
  );
}

const options = { skip: { type: 'string', default: '0' }, top: { type: 'string', default: '30' } } as const;
const { values, positionals } = parseArgs({ allowPositionals: true, options });
for (const file of positionals) {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile;
  const { bySelf, byTotal, byPackage, busyUs, allUs } = timesOf(profile, 1e6 * Number(values.skip));
  console.log(`${file}: busy ${(busyUs / 1e6).toFixed(2)} s of ${(allUs / 1e6).toFixed(2)} s\n`);
  print('package', byPackage, busyUs, 15);
  print('function, itself', bySelf, busyUs, Number(values.top));
  print('function, with what it calls', byTotal, busyUs, Number(values.top));
}
