import type { Logger } from '@openfeature/core';

const nothing = (): void => {};

/** What flagd's library has to say goes nowhere, but for warnings if somebody wants them. */
export function quietLogger(warn: (message: string) => void = nothing): Logger {
  return { error: nothing, warn: (message: unknown) => warn(String(message)), info: nothing, debug: nothing };
}
