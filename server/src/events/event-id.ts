import { invalidField } from '../rpc/errors.js';
import { planPosition } from './event-requests.js';
import type { Position } from './publication.js';

/**
 * The ids of server-sent events: the position of each channel, in the order of the request, so that `Last-Event-ID` tells all that the
 * next server has to know. `epoch:offset` for each, offsets to the base 36; what is as before it is left out: `mK3x:hs2k,,hs31`.
 */
export function toEventId(positions: readonly Position[]): string {
  let before: Position = { epoch: '', offset: -1 };
  const parts = positions.map((position) => {
    const { epoch, offset } = position;
    const isSame = epoch === before.epoch;
    const part = isSame ? (offset === before.offset ? '' : offset.toString(36)) : `${epoch}:${offset.toString(36)}`;
    before = position;
    return part;
  });
  return parts.join(',');
}

/** @throws {StafettError} INVALID_FIELD */
export function parseEventId(field: string, id: string, count: number): Position[] {
  const parts = id.split(',');
  if (parts.length !== count) throw invalidField(field, `is not of a stream with ${count} channels`);
  let before: Position | undefined;
  return parts.map((part) => {
    before = parsePart(field, part, before);
    return before;
  });
}

function parsePart(field: string, part: string, before: Position | undefined): Position {
  if (part === '' && before) return before;
  const [, epoch = before?.epoch, text = ''] = /^(?:([^:]*):)?([0-9a-z]{1,11})$/.exec(part) ?? [];
  const offset = Number.parseInt(text, 36);
  if (epoch === undefined || !Number.isSafeInteger(offset)) throw invalidField(field, 'is not the id of an event of this server');
  return planPosition(field, { epoch, offset: BigInt(offset) });
}
