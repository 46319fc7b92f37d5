/** What the transactions are about. */
export const NAMES = ['a', 'b', 'c', 'd', 'e'];

/** For a client process. */
export interface ClientSettings {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly namespace: string;
  readonly storePort: number;
  readonly ttlMs: number;
  readonly seed: number;
  readonly lanes: number;
  /** False: the register is not given the tokens. For the proof that this would be noticed. */
  readonly fencing: boolean;
  /** False: nobody asks whether the lock is still held. For the proof that this would be noticed. */
  readonly assertHeld: boolean;
}
