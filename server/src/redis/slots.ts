/** How many slots a cluster spreads its keys over. */
export const SLOTS = 16_384;

/** The slot of a key: the CRC16 (XMODEM's) of its hash tag, if it has one, as the specification of Redis Cluster says. */
export function slotOf(key: string): number {
  const begin = key.indexOf('{');
  const end = begin === -1 ? -1 : key.indexOf('}', begin + 1);
  return crc16(Buffer.from(end > begin + 1 ? key.slice(begin + 1, end) : key)) % SLOTS;
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}
