import { RESERVED_PREFIX } from '../../rpc/fields.js';

/** Slots are locks under names that nobody else may ask for; `scripts/slots.lua` makes and reads them as well. */
export function slotLockName(process: string, slot: number): string {
  return `${RESERVED_PREFIX}${process}/${slot}`;
}
