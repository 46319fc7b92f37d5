// redlock's package.json has `types`, but not in its `exports`, so TypeScript does not find them. What the bench uses of it:
declare module 'redlock' {
  import type { Redis } from 'ioredis';

  export interface Lock {
    release(): Promise<unknown>;
  }

  export default class Redlock {
    constructor(clients: Iterable<Redis>, settings?: { retryCount?: number; retryDelay?: number; retryJitter?: number });
    acquire(resources: string[], durationMs: number): Promise<Lock>;
    using<T>(resources: string[], durationMs: number, routine: (signal: AbortSignal) => Promise<T>): Promise<T>;
  }
}
