import { hostname } from 'node:os';

/** What tells from which process and when it is, e.g. `tax-return-service-node1-4711-20261128T181530Z.cpuprofile`. */
export function fileName(service: string, extension: string): string {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return `${service}-${hostname()}-${process.pid}-${time}`.replace(/[^\w.-]/g, '_').slice(-150) + extension;
}
