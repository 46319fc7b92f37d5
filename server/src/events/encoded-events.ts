import { SubscribeResponse, type SubscriptionEvent } from '../gen/stafett/v1/event.js';
import { ENCODED } from '../rpc/strict-decoding.js';

/** Of each event that somebody was told. All subscribers to a feed get the same event, so it is encoded once. */
const encoded = new WeakMap<SubscriptionEvent, Uint8Array>();

/** The last message of several events: whoever keeps up is told the same ones together. */
let last: { events: readonly SubscriptionEvent[]; bytes: Uint8Array } = { events: [], bytes: new Uint8Array() };

/** A message that is not encoded anew for each subscriber. */
export function toResponse(events: SubscriptionEvent[]): SubscribeResponse {
  const response: SubscribeResponse & { [ENCODED]?: Uint8Array } = { events };
  response[ENCODED] = events.length === 1 ? encode(events[0] as SubscriptionEvent) : encodeAll(events);
  return response;
}

function encode(event: SubscriptionEvent): Uint8Array {
  let bytes = encoded.get(event);
  if (bytes === undefined) {
    bytes = SubscribeResponse.encode({ events: [event] }).finish();
    encoded.set(event, bytes);
  }
  return bytes;
}

/** Messages one behind the other are one with all of their events. */
function encodeAll(events: SubscriptionEvent[]): Uint8Array {
  if (events.length !== last.events.length || events.some((event, i) => event !== last.events[i])) {
    last = { events, bytes: Buffer.concat(events.map(encode)) };
  }
  return last.bytes;
}
