import { spawn } from 'node:child_process';
import { root } from './project.mjs';
import { Stop } from './steps.mjs';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** One Ctrl-C reaches this process several times: the terminal sends it to npm, its shell and us, and npm passes it on. */
const ONE_KEYSTROKE_MS = 500;

/**
 * Runs a program to its end with this process' input and output, and ends as it ends. It is in a process group of its
 * own and gets each signal exactly once, from here, so that it can tell a first Ctrl-C from a second.
 */
export async function becomeProgram(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: 'inherit', detached: true, ...options });
  const stopForwarding = forwardSignals(child);
  const { code, signal } = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Stop(`${command} cannot be started: ${error.message}`)));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  stopForwarding();
  if (signal !== null) process.kill(process.pid, signal);
  process.exitCode = code ?? 1;
}

function forwardSignals(child) {
  let last = Number.NEGATIVE_INFINITY;
  const forward = (signal) => {
    const now = performance.now();
    if (now - last < ONE_KEYSTROKE_MS) return;
    last = now;
    child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
  };
}
