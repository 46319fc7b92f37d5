import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../../gen/stafett/v1/error.js';
import { StafettError } from '../../rpc/errors.js';

/** What is refused of managed processes, as errors that say what happened and what to do. */

const RETRY_MS = 5_000;

export function processNotFound(name: string): StafettError {
  return new StafettError(
    Status.NOT_FOUND,
    ErrorReason.PROCESS_NOT_FOUND,
    `there is no managed process ${JSON.stringify(name)}; the first node that joins declares it`,
    { name },
  );
}

export function processInUse(name: string, nodes: number, slots: number): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.PROCESS_IN_USE,
    `${nodes} nodes have joined ${JSON.stringify(name)}, and ${slots} slots are in somebody’s hands; let all nodes leave first`,
    { name, nodes: String(nodes), slots: String(slots) },
  );
}

export function revisionMismatch(name: string, wanted: number, revision: number): StafettError {
  return new StafettError(
    Status.FAILED_PRECONDITION,
    ErrorReason.REVISION_MISMATCH,
    `${JSON.stringify(name)} has the revision ${revision}, not ${wanted}: somebody has changed it; read it again and decide anew`,
    { name, revision: String(revision) },
  );
}

export function tooManyProcesses(): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_PROCESSES,
    'the namespace has as many managed processes as it may have; delete those that are no longer used, or raise STAFETT_MAX_PROCESSES',
    {},
    RETRY_MS,
  );
}

export function tooManyNodes(name: string, max: number): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.TOO_MANY_NODES,
    `${max} nodes have joined ${JSON.stringify(name)}, and no more may`,
    { name },
    RETRY_MS,
  );
}

/** To nobody: the client is elsewhere. */
export function joinedElsewhere(name: string): StafettError {
  return new StafettError(Status.CANCELLED, ErrorReason.CANCELLED, `the node has joined ${JSON.stringify(name)} by a later connection`, {
    name,
  });
}
