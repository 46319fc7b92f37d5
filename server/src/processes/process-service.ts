import type { ProcessServiceImplementation } from '../gen/stafett/v1/process.js';
import { createManagedService, type ManagedServiceOptions } from './managed/managed-service.js';
import { createRunService } from './runs/run-service.js';

export type ProcessServiceOptions = ManagedServiceOptions;

export interface ProcessService extends ProcessServiceImplementation<{ namespace: string }> {
  /** Asks the nodes that run runs to go to another server. */
  drain(): void;
}

/** Managed processes and runs. */
export function createProcessService(options: ProcessServiceOptions): ProcessService {
  const runs = createRunService(options.engine);
  return { ...createManagedService(options), ...runs.methods, drain: () => runs.drain() };
}
