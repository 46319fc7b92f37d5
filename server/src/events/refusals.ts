import { Status } from 'nice-grpc-common';
import { ErrorReason } from '../gen/stafett/v1/error.js';
import { StafettError } from '../rpc/errors.js';

export function positionOutOfRange(channel: string): StafettError {
  return new StafettError(
    Status.OUT_OF_RANGE,
    ErrorReason.POSITION_OUT_OF_RANGE,
    `nothing was published in ${JSON.stringify(channel)} at that position yet; give one that came with a publication or a subscription`,
    { channel },
  );
}

export function slowConsumer(bytesMax: number): StafettError {
  return new StafettError(
    Status.RESOURCE_EXHAUSTED,
    ErrorReason.SLOW_CONSUMER,
    `more than ${bytesMax} bytes wait for a subscriber that reads too slowly; subscribe again with \`since\`, or choose another policy`,
    {},
    200,
  );
}

export function tooManySubscriptions(what: string): StafettError {
  return new StafettError(Status.RESOURCE_EXHAUSTED, ErrorReason.TOO_MANY_SUBSCRIPTIONS, what, {}, 5_000);
}
