import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes of chunks between two collections. Each of them was in three buffers: as it was read, as a message, and as the message that went out. */
const BYTES_BETWEEN = 1.5 * 2 ** 20;

/**
 * Has the buffers of chunks that have gone out freed. Their memory is not V8's own, and there is little else to collect: V8 lets 32 MiB of it
 * (a constant of its own, whatever the flags) gather before it looks. See docs/decisions/020.
 */
export class SpentChunks {
  readonly #collect = minorCollection();
  #bytes = 0;

  /** So many bytes have passed through this server. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < BYTES_BETWEEN) return;
    this.#bytes = 0;
    this.#collect();
  }
}

/** Of the young generation alone, which takes about a millisecond. */
function minorCollection(): () => void {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('typeof gc === "function" ? gc : undefined') as ((options: { type: 'minor' }) => void) | undefined;
  return () => gc?.({ type: 'minor' });
}
