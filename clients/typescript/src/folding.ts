import type { Duration } from './gen/google/protobuf/duration.js';
import type { AcquireRequest, PipelineCommand, ReleaseRequest } from './gen/stafett/v1/lock.js';

type Command = NonNullable<PipelineCommand['command']>;

/** A command on its way. */
export interface Asked {
  /** Its id. */
  readonly number: number;
  readonly command: Command;
  /** How often it was sent, this time included. */
  readonly sent: number;
  readonly life: { readonly id: string };
}

/** Offsets have 32 bits. */
const OFFSET_MAX = 2 ** 32 - 1;

/** Puts acquires, and releases, that follow each other and are alike into runs: each costs both sides much less there. */
export function fold(asked: readonly Asked[]): PipelineCommand[] {
  const commands: PipelineCommand[] = [];
  for (let from = 0, to = 0; from < asked.length; from = to) {
    to = endOfRun(asked, from);
    const first = asked[from] as Asked;
    const command = to - from === 1 ? first.command : run(asked.slice(from, to));
    commands.push({ id: BigInt(first.number), command });
  }
  return commands;
}

function endOfRun(asked: readonly Asked[], from: number): number {
  const first = asked[from] as Asked;
  let to = from + 1;
  if (first.command.$case === 'release') {
    while (isNextRelease(first, asked[to], to - from)) to++;
  } else if (first.command.$case === 'acquire' && isPlain(first, first.command.value)) {
    const request = Number(first.command.value.requestId);
    while (isNextAcquire(first, first.command.value, asked[to], to - from, request)) to++;
  }
  return to;
}

/** Of one name, not nested, and asked for the first time: what was asked before may have a place in a queue. */
function isPlain({ sent }: Asked, { names, heldLockIds }: AcquireRequest): boolean {
  return names.length === 1 && heldLockIds.length === 0 && sent === 1;
}

function isNextAcquire(first: Asked, like: AcquireRequest, next: Asked | undefined, offset: number, firstRequest: number): boolean {
  if (next?.command.$case !== 'acquire' || next.life !== first.life || next.number !== first.number + offset) return false;
  const { value } = next.command;
  if (!isPlain(next, value) || Number(value.requestId) !== firstRequest + offset) return false;
  return value.purpose === like.purpose && value.owner === like.owner && isSame(value.waitTimeout, like.waitTimeout);
}

function isNextRelease(first: Asked, next: Asked | undefined, offset: number): boolean {
  if (next?.command.$case !== 'release' || next.life !== first.life || next.number !== first.number + offset) return false;
  return Math.abs(requestOf(next) - requestOf(first)) <= OFFSET_MAX / 2;
}

/** The request id of the grant that is given back, or NaN. */
function requestOf({ life, command }: Asked): number {
  return Number((command.value as ReleaseRequest).lockId.slice(life.id.length + 1));
}

function isSame(a: Duration | undefined, b: Duration | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.seconds === b.seconds && a.nanos === b.nanos);
}

function run(asked: readonly Asked[]): Command {
  const [first] = asked as [Asked];
  if (first.command.$case === 'release') {
    const requests = asked.map(requestOf);
    const least = Math.min(...requests);
    const offsets = requests.map((request) => request - least);
    return { $case: 'releaseRun', value: { sessionId: first.life.id, firstRequest: BigInt(least), offsets } };
  }
  const { sessionId, requestId, waitTimeout, owner, purpose } = first.command.value as AcquireRequest;
  const names = asked.map(({ command }) => (command.value as AcquireRequest).names[0] as string);
  return { $case: 'acquireRun', value: { names, sessionId, firstRequest: BigInt(requestId), waitTimeout, owner, purpose } };
}
