import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** A larger message does not keep what it was written into, bytes. */
const KEPT_MAX = 1_048_576;

let writer = new BinaryWriter();

/** Into a buffer that is used again: a new one begins with 128 bytes, and is copied each time that it has to grow. */
export function encodeMessage(codec: { encode(value: unknown, writer: BinaryWriter): BinaryWriter }, value: unknown): Uint8Array {
  try {
    const bytes = codec.encode(value, writer).finish();
    if (bytes.length > KEPT_MAX) writer = new BinaryWriter();
    return bytes;
  } catch (error) {
    writer = new BinaryWriter(); // what was written until then is in the other
    throw error;
  }
}
