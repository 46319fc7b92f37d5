import { StubClient } from './stub-client.js';
import type { StubError } from './stub-error.js';
import type { StubPipeline } from './stub-pipeline.js';
import { StubKeepAlives, type StubSession } from './stub-session.js';

// A client process with far too many sessions and waiting acquires, over a few connections: tsx load-client.ts <settings, JSON>. It tells
// when its sessions are open, and, when everything that it asked for is answered, how that went.

export interface LoadSettings {
  readonly port: number;
  readonly namespace: string;
  readonly connections: number;
  readonly sessions: number;
  readonly ttlMs: number;
  readonly waits: number;
  /** Of the names; all are held by somebody else at first. */
  readonly names: readonly string[];
}

export interface LoadReport {
  readonly granted: number;
  /** How often each reason was given, with RetryInfo. */
  readonly refused: Readonly<Record<string, number>>;
  /** Grants before somebody who had asked earlier. */
  readonly overtakings: number;
  readonly lostSessions: number;
  readonly keepAliveMsMax: number;
}

/** Sessions that are opened at once on a connection, and in one keepalive. */
const GROUP = 50;

const settings = JSON.parse(process.argv[2] as string) as LoadSettings;
const { names, ttlMs } = settings;
const clients = Array.from({ length: settings.connections }, () => new StubClient(settings.port, settings.namespace));
const lost = new Set<string>();
let keepAliveMsMax = 0;

function tell(what: object): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** Opens sessions some at a time, and keeps those alive that there are: at different times, as processes that know nothing of each other. */
async function openSessions(client: StubClient, count: number): Promise<StubSession[]> {
  const stream = new StubKeepAlives(client);
  const sessions: StubSession[] = [];
  while (sessions.length < count) {
    const group = await Promise.all(
      Array.from({ length: Math.min(GROUP, count - sessions.length) }, () => client.openSilentSession({ ttlMs })),
    );
    const ids = group.map(({ id }) => id);
    setInterval(() => keepAlive(stream, ids), ttlMs / 3);
    sessions.push(...group);
  }
  return sessions;
}

async function keepAlive(stream: StubKeepAlives, ids: string[]): Promise<void> {
  const sentAt = performance.now();
  const { states } = await stream.send(...ids);
  keepAliveMsMax = Math.max(keepAliveMsMax, performance.now() - sentAt);
  for (const { sessionId, alive } of states) if (!alive) lost.add(sessionId);
}

/** Each name is asked for over one connection, so that it is known who asked first. */
async function waitForAll(
  pipelines: readonly StubPipeline[],
  sessions: readonly StubSession[],
): Promise<Omit<LoadReport, 'lostSessions' | 'keepAliveMsMax'>> {
  const refused: Record<string, number> = {};
  const last = names.map(() => -1);
  let [granted, overtakings] = [0, 0];
  const wait = async (i: number) => {
    const name = i % names.length;
    const pipeline = pipelines[name % pipelines.length] as StubPipeline;
    try {
      const lock = await pipeline.lock(names[name] as string, { session: sessions[i % sessions.length] as StubSession, waitMs: 600_000 });
      granted++;
      if (i < (last[name] as number)) overtakings++;
      last[name] = i;
      await pipeline.release(lock);
    } catch (error) {
      const { reason = String(error), retryDelayMs } = error as StubError;
      const kind = retryDelayMs === undefined ? `${reason} without RetryInfo` : reason;
      refused[kind] = (refused[kind] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: settings.waits }, (_, i) => wait(i)));
  return { granted, refused, overtakings };
}

const sessions = (await Promise.all(clients.map((client) => openSessions(client, settings.sessions / clients.length)))).flat();
tell({ opened: sessions.length });
const outcome = await waitForAll(
  clients.map((client) => client.pipeline()),
  sessions,
);
tell({ ...outcome, lostSessions: lost.size, keepAliveMsMax } satisfies LoadReport);
process.exit();
