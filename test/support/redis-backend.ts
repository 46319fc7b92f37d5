import type { RedisKind } from './redis-kind.js';

/** What differs between the kinds. */
export interface RedisBackend {
  readonly kind: RedisKind;
  readonly host: string;
  readonly port: number;
  /** Starts it, or does nothing if it was created running. Need not wait until it answers. */
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): Promise<void>;
  ended(): Promise<void>;
  remove(): Promise<void>;
  /** Whether the Redis that gave this `INFO server` is this one, and not somebody else's at the same port. */
  owns(info: string): boolean;
  /** Why it cannot answer; undefined while there is hope. */
  problem(): Promise<string | undefined>;
}
