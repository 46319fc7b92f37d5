import type { AcquireCommand, AcquiresCommand, Command, ReleasesCommand } from './commands.js';

type ReleaseCommand = Extract<Command, ['release', string]>;

/**
 * Plain acquires and releases that follow each other go to the engine as one command, and their results come back as one:
 * packing and unpacking a list for each was a good part of what they cost, here and in Redis. They are still carried out one by one.
 * Clients that ask for them in runs have joined them already.
 */
export function joinCommands(commands: readonly Command[]): Command[] {
  const joined: Command[] = [];
  for (let from = 0, to = 0; from < commands.length; from = to) {
    to = endOfRun(commands, from);
    joined.push(join(commands, from, to));
  }
  return joined;
}

/**
 * What each of the commands would have had as its result.
 * @param now of Redis, ms
 */
export function splitResults(commands: readonly Command[], joined: readonly unknown[], now: number): unknown[] {
  const results: unknown[] = [];
  let next = 0;
  for (let from = 0, to = 0; from < commands.length; from = to) {
    to = endOfRun(commands, from);
    const result = joined[next++];
    const first = commands[from] as Command;
    if (first[0] === 'acquires') results.push(toAcquiresResult(result as unknown[], now));
    else if (first[0] === 'release') splitReleases(result as unknown[], results);
    else if (isPlain(first)) splitAcquires(result as unknown[], results, now);
    else results.push(result);
  }
  return results;
}

/** Of how many commands that follow each other the engine makes no difference. */
function endOfRun(commands: readonly Command[], from: number): number {
  const first = commands[from] as Command;
  let to = from + 1;
  if (first[0] === 'release') while (isOfSession(sessionOf(first[1]), commands[to])) to++;
  else if (isPlain(first)) while (isAlike(first, commands[to])) to++;
  return to;
}

/** Of one name, under a session, not nested, and new: for what the engine has a short way. */
function isPlain(command: Command | undefined): command is AcquireCommand {
  if (command?.[0] !== 'acquire') return false;
  const [, , , names, , , context, leaseTtlMs, ticket = 0] = command;
  return names.length === 1 && context === false && leaseTtlMs === 0 && ticket === 0;
}

function isAlike(first: AcquireCommand, command: Command | undefined): boolean {
  if (!isPlain(command)) return false;
  return command[1] === first[1] && command[4] === first[4] && command[5] === first[5] && command[9] === first[9];
}

function isOfSession(sid: string, command: Command | undefined): boolean {
  return command?.[0] === 'release' && sessionOf(command[1]) === sid;
}

function join(commands: readonly Command[], from: number, to: number): Command {
  const first = commands[from] as Command;
  if (first[0] === 'release') {
    const sid = sessionOf(first[1]);
    const joined: ReleasesCommand = ['releases', sid];
    for (let i = from; i < to; i++) joined.push((commands[i] as ReleaseCommand)[1].slice(sid.length + 1));
    return joined;
  }
  if (!isPlain(first)) return first;
  const [, sid, , , wait, owner, , , , generation = 0] = first;
  const joined: AcquiresCommand = ['acquires', sid, wait, owner, generation];
  for (let i = from; i < to; i++) {
    const [, , requestId, [name]] = commands[i] as AcquireCommand;
    joined.push(requestId, name as string);
  }
  return joined;
}

function sessionOf(lockId: string): string {
  return lockId.slice(0, lockId.indexOf('.'));
}

function toAcquiresResult([deadline, ...each]: readonly unknown[], now: number): unknown {
  return { now, deadline, each };
}

/** `[deadline, a token or a whole result, …]` */
function splitAcquires([deadline, ...joined]: readonly unknown[], results: unknown[], now: number): void {
  for (const result of joined) results.push(typeof result === 'number' ? ['granted', result, now, deadline, 0] : result);
}

/** `[ms, name, …]`, or a whole result in the place of both. */
function splitReleases(joined: readonly unknown[], results: unknown[]): void {
  for (let i = 0; i < joined.length; i++) {
    const result = joined[i];
    results.push(typeof result === 'number' ? ['released', result, joined[++i]] : result);
  }
}
