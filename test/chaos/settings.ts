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
  /** How long each step of a transaction may take. */
  readonly workMsMax: number;
  /** How much later than its last look at the lock it may write. */
  readonly stallMsMax: number;
  /** False: the register is not given the tokens. For the proof that this would be noticed. */
  readonly fencing: boolean;
  /** False: the client waits until a server tells it that its session is lost. For the proof that this would be noticed. */
  readonly deadline: boolean;
  /** False: locks only. */
  readonly news: boolean;
}
