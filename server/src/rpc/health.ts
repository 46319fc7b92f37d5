import { HealthDefinition, HealthServiceImpl, HealthState } from 'nice-grpc-server-health';

export { HealthDefinition };

/** `grpc.health.v1` for the server as a whole (the empty name) and for each service, which all share one fate. */
export class Health {
  readonly #state = HealthState();
  readonly #services: readonly string[];

  constructor(services: readonly string[]) {
    this.#services = ['', ...services];
    this.#state.setMaxListeners(0); // one for each watcher
    this.set(false);
  }

  readonly service = HealthServiceImpl(this.#state);

  set(serving: boolean): void {
    for (const name of this.#services) this.#state.setStatus(serving ? 'healthy' : 'unhealthy', name);
  }
}
