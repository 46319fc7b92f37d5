import { readFileSync } from 'node:fs';
import type { ServiceImplementation } from 'nice-grpc';
import { ServerReflection, ServerReflectionService } from 'nice-grpc-server-reflection';
import { until } from './draining.js';
import { healthDescriptorSet } from './health-descriptor.js';

const V1 = ServerReflectionService.serverReflectionInfo;

export const REFLECTION_V1 = ServerReflectionService;

/** The same service under its older name, for clients that know no other. */
export const REFLECTION_V1ALPHA = {
  serverReflectionInfo: { ...V1, path: V1.path.replace('.v1.', '.v1alpha.') },
};

/** Serves the descriptors that `npm run generate` made from the protos, so that grpcurl and `buf curl` need no files. */
export function createReflection(services: readonly string[]): ServiceImplementation<typeof REFLECTION_V1> {
  const own = readFileSync(new URL('../gen/descriptors.binpb', import.meta.url));
  // A descriptor set is one repeated field, so that two of them, one after the other, are their union.
  const reflection = ServerReflection(Buffer.concat([own, healthDescriptorSet()]), services);
  return {
    // The library does not look at the signal, and tools keep such streams open.
    serverReflectionInfo: (requests, context) => reflection.serverReflectionInfo(until(requests, context.signal), context),
  };
}
