import { randomUUID } from 'node:crypto';
import type { CommandOf } from '../../engine/commands.js';
import type { ClaimRunCommand, ReportCommand } from '../../engine/run-commands.js';
import type { Duration } from '../../gen/google/protobuf/duration.js';
import type { AssertRunRequest, ReportRunRequest, RunOffer, RunProgress, StartOrGetStatusRequest } from '../../gen/stafett/v1/run.js';
import { invalidField } from '../../rpc/errors.js';
import { checkDuration, checkId, checkName, checkText, fromTimestamp, isId } from '../../rpc/fields.js';
import { sessionNotFound } from '../../sessions/refusals.js';

/** Checks of what is asked of runs, and the commands that it becomes. Each throws INVALID_ARGUMENT and names the field. */

const PAYLOAD_BYTES_MAX = 256 * 1024;
const MESSAGE_BYTES_MAX = 1_024;
const STACK_BYTES_MAX = 16 * 1_024;
const OFFERS_MAX = 100;
const CONCURRENCY_MAX = 10_000;
const RETRIES_MAX = 100;
const RESULT_TTL_MS_DEFAULT = 300_000;
const RESULT_TTL_MS_MIN = 1_000;
const DAY_MS = 24 * 60 * 60 * 1_000;

const TYPE = /^[A-Za-z0-9._-]{1,64}$/;
const RUN_ID = /^[1-9]\d{0,15}$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function checkType(field: string, type: string): void {
  if (!TYPE.test(type)) throw invalidField(field, 'must be 1 to 64 of the characters A–Z a–z 0–9 . _ -');
}

/** What the engine knows a run by. No type has a slash. */
export function checkRef({ type, id }: { type: string; id: string }): string {
  checkType('type', type);
  checkName('id', id);
  return `${type}/${id}`;
}

export function checkRunId(field: string, runId: string): number {
  if (!RUN_ID.test(runId)) throw invalidField(field, 'is not a run_id; give the one of the state');
  return Number(runId);
}

function checkSessionId(sessionId: string): string {
  if (!isId(sessionId)) throw sessionNotFound(sessionId);
  return sessionId;
}

/** A JSON text, or nothing. */
function checkJson(field: string, bytes: Uint8Array): string {
  if (bytes.length > PAYLOAD_BYTES_MAX) throw invalidField(field, `${bytes.length} bytes; at most ${PAYLOAD_BYTES_MAX} are allowed`);
  if (bytes.length === 0) return '';
  try {
    const text = utf8.decode(bytes);
    JSON.parse(text);
    return text;
  } catch {
    throw invalidField(field, 'is not a JSON text in UTF-8');
  }
}

function checkProgress({ percent, message }: RunProgress, prefix: string): [percent: number, message: string] {
  if (!(percent >= 0 && percent <= 100)) throw invalidField(`${prefix}.percent`, 'must be between 0 and 100');
  checkText(`${prefix}.message`, message, MESSAGE_BYTES_MAX);
  return [percent, message];
}

function checkResultTtl(ttl: Duration | undefined): number {
  return ttl ? checkDuration('result_ttl', ttl, RESULT_TTL_MS_MIN, DAY_MS) : RESULT_TTL_MS_DEFAULT;
}

function checkRetries(retries: number): number {
  if (retries > RETRIES_MAX) throw invalidField('retry_on_lost', `${retries}; at most ${RETRIES_MAX} are allowed`);
  return retries;
}

export function planStart(request: StartOrGetStatusRequest, generation: number): CommandOf<'start_run'> {
  const ref = checkRef(request);
  const input = checkJson('input', request.input);
  const sid = request.sessionId === '' ? '' : checkSessionId(request.sessionId);
  const wait = request.waitForRunner;
  if (sid !== '' && wait) throw invalidField('wait_for_runner', 'must be absent with a session_id, which runs it at once');
  const waitMs = wait ? checkDuration('wait_for_runner', wait, 1, DAY_MS) : 0;
  if (request.requestId !== '') checkId('request_id', request.requestId);
  const ttlMs = checkResultTtl(request.resultTtl);
  const retries = checkRetries(request.retryOnLost);
  const restart = request.restartIfNotRunning ? 1 : 0;
  return ['start_run', ref, sid, restart, request.requestId || randomUUID(), input, ttlMs, retries, waitMs, generation];
}

export function planReport(request: ReportRunRequest): ReportCommand {
  const ref = checkRef(request);
  const sid = checkSessionId(request.sessionId);
  const run = checkRunId('run_id', request.runId);
  const { report } = request;
  switch (report?.$case) {
    case 'progress':
      return ['report_run', sid, ref, run, 'progress', ...checkProgress(report.value, 'progress')];
    case 'success':
      return ['report_run', sid, ref, run, 'succeeded', checkJson('success.result', report.value.result)];
    case 'failure':
      checkText('failure.message', report.value.message, MESSAGE_BYTES_MAX);
      checkText('failure.stack', report.value.stack, STACK_BYTES_MAX);
      return ['report_run', sid, ref, run, 'failed', report.value.message, report.value.stack];
    case 'cancelled':
      return ['report_run', sid, ref, run, 'cancelled'];
    default:
      throw invalidField('report', 'is missing, or of a kind that this server does not know');
  }
}

/** [type, how many, ...] */
export function checkOffers(offers: RunOffer[]): (string | number)[] {
  if (offers.length > OFFERS_MAX) throw invalidField('offers', `${offers.length} offers; at most ${OFFERS_MAX} are allowed`);
  if (new Set(offers.map(({ type }) => type)).size < offers.length) throw invalidField('offers', 'a type is offered twice');
  return offers.flatMap(({ type, concurrency }) => {
    checkType('offers.type', type);
    if (concurrency < 1 || concurrency > CONCURRENCY_MAX)
      throw invalidField('offers.concurrency', `${concurrency}; must be between 1 and ${CONCURRENCY_MAX}`);
    return [type, concurrency];
  });
}

export function planClaim({ sessionId, state, input, retryOnLost, resultTtl, requestId }: AssertRunRequest): ClaimRunCommand {
  if (!state) throw invalidField('state', 'is missing');
  const ref = checkRef(state);
  const run = checkRunId('state.run_id', state.runId);
  const [percent, message] = checkProgress(state.progress ?? { percent: 0, message: '' }, 'state.progress');
  const times = [state.createTime, state.startTime].map((time) => (time ? fromTimestamp(time) : 0)) as [number, number];
  if (requestId !== '') checkId('request_id', requestId);
  const [cancel, attempt] = [state.cancelRequested ? 1 : 0, Math.max(1, state.attempt)] as const;
  const text = checkJson('input', input);
  const [sid, retries, ttlMs] = [checkSessionId(sessionId), checkRetries(retryOnLost), checkResultTtl(resultTtl)];
  return ['claim_run', sid, ref, run, text, ...times, percent, message, cancel, attempt, retries, ttlMs, requestId];
}
