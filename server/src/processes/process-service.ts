import type { ProcessServiceImplementation } from '../gen/stafett/v1/process.js';
import { createManagedService, type ManagedServiceOptions } from './managed/managed-service.js';

export type ProcessServiceOptions = ManagedServiceOptions;

/** Managed processes, and everything else that ProcessService serves. */
export function createProcessService(options: ProcessServiceOptions): ProcessServiceImplementation<{ namespace: string }> {
  return { ...createManagedService(options) };
}
