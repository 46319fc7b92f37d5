import { Gauge, type Registry } from 'prom-client';
import type { StafettError } from '../rpc/errors.js';
import type { AcquirePlan } from './acquire-plan.js';
import { serverFull } from './refusals.js';
import type { RunPlan } from './runs.js';

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

  /** Returns why there is no room; undefined: it is in, and leaves with the same bytes. */
  enter(bytes: number, acquires = 1): StafettError | undefined {
    const { maxPendingAcquires, maxPendingBytes } = this.#limits;
    if (this.#acquires + acquires > maxPendingAcquires) return serverFull('STAFETT_MAX_PENDING_ACQUIRES');
    if (this.#bytes + bytes > maxPendingBytes) return serverFull('STAFETT_MAX_PENDING_BYTES');
    this.#acquires += acquires;
    this.#bytes += bytes;
    return undefined;
  }

  leave(bytes: number, acquires = 1): void {
    this.#acquires -= acquires;
    this.#bytes -= bytes;
  }
}

/** What the caller chose the size of. */
export function bytesOf({ names, command: [, sid, requestId, , , owner, context] }: AcquirePlan): number {
  let bytes = sid.length + requestId.length + owner.length;
  for (const name of names) bytes += name.length;
  for (const id of context || []) bytes += id.length;
  return bytes;
}

/** The same of all acquires of a run. */
export function bytesOfRun({ command }: RunPlan): number {
  const [, sid, , owner] = command;
  let bytes = ((command.length - 5) / 2) * (sid.length + owner.length);
  for (let i = 5; i < command.length; i++) bytes += (command[i] as string).length;
  return bytes;
}
