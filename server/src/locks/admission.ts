import { Gauge, type Registry } from 'prom-client';
import type { StafettError } from '../rpc/errors.js';
import type { AcquirePlan } from './acquire-plan.js';
import { serverFull } from './refusals.js';

export interface AdmissionLimits {
  readonly maxPendingAcquires: number;
  readonly maxPendingBytes: number;
}

/** Acquires without an answer on this server, of all namespaces: what bounds its memory, however many ask, and for how long. */
export class Admission {
  readonly #limits: AdmissionLimits;
  #acquires = 0;
  #bytes = 0;

  constructor(limits: AdmissionLimits, registry: Registry) {
    this.#limits = limits;
    const gauge = (name: string, help: string, value: () => number) => {
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(value());
        },
      });
    };
    gauge('stafett_pending_acquires', 'Acquires without an answer on this server.', () => this.#acquires);
    gauge('stafett_pending_bytes', 'What those take, names and owners.', () => this.#bytes);
  }

  /** Returns what to give to `leave`, or why there is no room. */
  enter(plan: AcquirePlan): number | StafettError {
    const bytes = bytesOf(plan);
    const { maxPendingAcquires, maxPendingBytes } = this.#limits;
    if (this.#acquires >= maxPendingAcquires) return serverFull('STAFETT_MAX_PENDING_ACQUIRES');
    if (this.#bytes + bytes > maxPendingBytes) return serverFull('STAFETT_MAX_PENDING_BYTES');
    this.#acquires++;
    this.#bytes += bytes;
    return bytes;
  }

  leave(bytes: number): void {
    this.#acquires--;
    this.#bytes -= bytes;
  }
}

/** What the caller chose the size of. */
function bytesOf({ names, command: [, sid, requestId, , , owner, context] }: AcquirePlan): number {
  let bytes = sid.length + requestId.length + owner.length;
  for (const name of names) bytes += name.length;
  for (const id of context || []) bytes += id.length;
  return bytes;
}
