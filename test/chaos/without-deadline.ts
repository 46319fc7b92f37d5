import type { StafettError } from '../../clients/typescript/src/index.js';
import { SessionLife } from '../../clients/typescript/src/life.js';

/** Plants a bug into the client of this process: it believes in its session until a server tells it otherwise. */
export function removeDeadline(): void {
  const told = new WeakMap<SessionLife, StafettError>();
  const { lose } = SessionLife.prototype;
  Object.defineProperty(SessionLife.prototype, 'lost', {
    get(this: SessionLife) {
      return told.get(this);
    },
  });
  SessionLife.prototype.lose = function (reason: StafettError) {
    told.set(this, reason);
    lose.call(this, reason);
  };
}
