import { spawn, spawnSync } from 'node:child_process';
import { root } from './project.mjs';

/** Something that the person at the terminal can mend; its message says how. */
export class Stop extends Error {}

/** Tells what is under way. On stderr, for stdout belongs to the program that is started. */
export function step(text) {
  process.stderr.write(`stafett: ${text}\n`);
}

/** Runs `main`; what it cannot do ends the process with exit code 1 and a message. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    process.stderr.write(`stafett: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/**
 * Runs a command of the project to its end. Its output goes to stderr.
 * @throws {Stop} when it fails.
 */
export async function run(command, args, shown = shownAs(command, args)) {
  failUnlessDone(await exitOf(command, args, { stdio: ['ignore', 2, 2] }), shown);
}

/** The same for commands that run beside others: what it writes comes when it has ended, so that it is not mixed with theirs. */
export async function runInOnePiece(command, args, shown = shownAs(command, args)) {
  const output = [];
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(chunk));
  const exit = await endOf(command, child, 'close');
  process.stderr.write(Buffer.concat(output));
  failUnlessDone(exit, shown);
}

function failUnlessDone({ code, signal }, shown) {
  if (code !== 0) throw new Stop(`\`${shown}\` failed (${signal ?? `exit code ${code}`}); the lines above say why`);
}

/** Runs npm: the very one that runs this script, if one does. */
export function runNpm(args) {
  const cli = process.env.npm_execpath;
  return cli === undefined ? run('npm', args) : run(process.execPath, [cli, ...args], `npm ${args.join(' ')}`);
}

/** How a command ends: `{ code, signal }`. Its input and output are this process' own unless told otherwise. */
export function exitOf(command, args, options = {}) {
  return endOf(command, spawn(command, args, { cwd: root, stdio: 'inherit', ...options }), 'exit');
}

function endOf(command, child, event) {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Stop(`${command} cannot be started: ${error.message}`)));
    child.once(event, (code, signal) => resolve({ code, signal }));
  });
}

/** Whether the command can be run and says 0, within the time. Shows nothing. */
export function succeeds(command, args, timeoutMs = 10_000) {
  return spawnSync(command, args, { cwd: root, stdio: 'ignore', timeout: timeoutMs }).status === 0;
}

/** As a person would write it in the directory of the project. */
function shownAs(command, args) {
  const name = command.startsWith(root) ? command.slice(root.length).replace('node_modules/.bin/', '') : command;
  return [name, ...args].join(' ');
}
