/** Bytes of one chunk of an answer, at the most. */
export const CHUNK_BYTES_MAX = 65_536;
/** Bytes of one call that are on their way from the instance to the reader, at the most: what a call may cost the servers in memory. */
export const WINDOW_BYTES = 6 * CHUNK_BYTES_MAX;
/** Credit goes back in portions of so many bytes, not with each chunk. */
export const CREDIT_BYTES_MIN = 2 * CHUNK_BYTES_MAX;
/** Bytes of a call's parameters. */
export const PARAMS_BYTES_MAX = 65_536;
/** The longest timeout of a call, ms. */
export const CALL_TIMEOUT_MS_MAX = 24 * 60 * 60 * 1_000;
/** Calls that one server routes at once. */
export const CALLS_MAX = 1_000;
export const LABELS_MAX = 32;
/** Calls that an instance offers. */
export const CALLS_OFFERED_MAX = 64;
/** Bytes of all that an instance tells of itself. */
export const RECORD_BYTES_MAX = 32_768;
/** Characters of what an instance says about its failure. */
export const FAILURE_CHARS_MAX = 2_048;
