import type { CommandOf } from '../../server/src/engine/commands.js';
import { isLease, type Session } from '../support/lock-model.js';
import type { Replay } from './replay.js';
import { Violation } from './violation.js';

/** The rules of the commands that show locks, watch them and clean up. See `rules.ts`. */
export const READ_RULES = { session, sessions, watch, unwatch, inspect, list, drain, sweep };

function session(replay: Replay, [, sid]: CommandOf<'session'>): unknown[] {
  return replay.model.alive(sid) ? ['session', sessionView(replay, sid)] : ['gone'];
}

function sessions(replay: Replay, [, after, limit]: CommandOf<'sessions'>): unknown[] {
  const { model } = replay;
  const open = [...model.sessions.keys()].filter((sid) => !isLease(sid));
  const page = open
    .filter((sid) => sid > after)
    .sort(byBytes)
    .slice(0, limit);
  const views = page.filter((sid) => model.alive(sid)).map((sid) => sessionView(replay, sid));
  return ['sessions', views, page.length === limit ? page.at(-1) : ''];
}

function sessionView({ model }: Replay, sid: string): unknown[] {
  const { ttlMs, opened, deadline, owner } = model.sessions.get(sid) as Session;
  return [sid, ttlMs, opened, deadline, owner, model.acquiresOf(sid).length];
}

function watch({ model, call }: Replay, [, names, ms]: CommandOf<'watch'>): unknown[] {
  const views = names.map((name) => {
    model.remember(name).watchers.set(call.server, model.now + ms);
    return [model.lockView(name), model.peek(name).history];
  });
  return ['watched', views];
}

function unwatch({ model, call }: Replay, [, names]: CommandOf<'unwatch'>): unknown[] {
  for (const name of names) model.remember(name).watchers.delete(call.server);
  return ['unwatched'];
}

function inspect({ model }: Replay, [, name]: CommandOf<'inspect'>): unknown[] {
  return ['lock', model.lockView(name), model.waiterViews(name), model.peek(name).history];
}

function list({ model }: Replay, [, prefix, after, limit, activeOnly]: CommandOf<'list'>): unknown[] {
  const from = after.startsWith(prefix) ? after : ''; // one of another list says nothing
  const names = [...model.locks.keys()].filter((name) => name.startsWith(prefix) && (from === '' || byBytes(name, from) > 0));
  const page = names.sort(byBytes).slice(0, limit);
  const views = page.map((name) => model.lockView(name)).filter(([, holder, waiting]) => activeOnly === 0 || holder || waiting > 0);
  return ['locks', views, page.length === limit ? page.at(-1) : ''];
}

function drain(replay: Replay): unknown[] {
  const { model } = replay;
  const events = replay.undrained;
  replay.undrained = [];
  const deadlines = [...model.sessions.values()].map(({ deadline }) => deadline);
  return ['drained', events, deadlines.length > 0 ? Math.min(...deadlines) : 0, 0];
}

/** A name that has been unused for the retention time may be forgotten; when exactly it is looked at is up to the engine. */
function sweep({ model, call, choices }: Replay, _: CommandOf<'sweep'>, got: unknown[]): unknown[] {
  const [, looked] = got as ['swept', number];
  let forgotten = 0;
  for (const [name, { holder, queue, watchers, history }] of [...model.locks]) {
    const unusedSince = history[0]?.[5] ?? Number.NEGATIVE_INFINITY;
    const watched = [...watchers.values()].some((until) => until > model.now);
    if (holder !== undefined || queue.length > 0 || watched || unusedSince + call.limits.lockRetentionMs > model.now) continue;
    if (choices.choose(2) === 1) continue;
    model.locks.delete(name);
    forgotten++;
  }
  if (looked < forgotten) throw new Violation(`looked at ${looked} names and forgot ${forgotten}`);
  const { held, waiting } = model.counts();
  return ['swept', looked, [...model.sessions.keys()].filter((sid) => !isLease(sid)).length, held, waiting, 0, 0];
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
