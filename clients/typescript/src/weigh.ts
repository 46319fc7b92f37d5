import type { AcquireRequest, PipelineCommand } from './gen/stafett/v1/lock.js';

/** A character has at most 3 bytes in UTF-8, for two of those that have 4 stand for one. */
const BYTES_PER_CHARACTER = 3;
/** A tag and a length. */
const FIELD_BYTES = 4;
/** What every command has: an id, durations, tags and lengths. */
const BASE_BYTES = 40;

/** At most so many bytes does the command take in a message. */
export function weigh({ command }: Pick<PipelineCommand, 'command'>): number {
  switch (command?.$case) {
    case 'acquire':
      return weighAcquire(command.value);
    case 'release':
      return BASE_BYTES + command.value.lockId.length;
    case 'cancel':
      return BASE_BYTES + command.value.sessionId.length + command.value.requestId.length;
    default:
      return BASE_BYTES;
  }
}

function weighAcquire({ names, sessionId, requestId, heldLockIds, purpose, owner }: AcquireRequest): number {
  let characters = purpose.length;
  for (const name of names) characters += name.length;
  if (owner) characters += owner.host.length + owner.thread.length + owner.client.length + owner.traceId.length;
  let bytes = BASE_BYTES + sessionId.length + requestId.length + FIELD_BYTES * (names.length + heldLockIds.length + 5);
  for (const id of heldLockIds) bytes += id.length;
  return bytes + BYTES_PER_CHARACTER * characters;
}
