import { expect, test } from 'vitest';
import { checkHistory } from '../../support/history-checker.js';
import { Rng } from '../../support/rng.js';
import { startStack } from '../../support/stack.js';
import { connectStub, freshNamespace } from '../../support/stub-stack.js';
import { Relay } from './relay.js';

// §4.1.1–3, 5 under load: no overlap, tokens grow, nobody is overtaken or forgotten, and only true cycles are refused.

const CLIENTS = 50;
const RUN_MS = 8_000;

test('50 clients on two servers with nested acquires of several names: everybody is served, in order, one at a time', {
  timeout: 60_000,
  retry: 0,
}, async () => {
  const { server, addServer } = await startStack();
  const servers = [server, await addServer()] as const;
  const namespace = freshNamespace();
  const rng = new Rng();
  const names = Array.from({ length: 32 }, (_, i) => `customer/${i}`);
  const watch = connectStub(server, namespace).watch(names);
  await watch.ready;

  const relay = new Relay(names);
  for (let i = 0; i < CLIENTS; i++) await relay.join(connectStub(servers[i % 2] as typeof server, namespace), rng.fork());
  await relay.run(RUN_MS);
  await relay.addEnds(watch);
  console.log(relay.counts);

  // The times are those of the clients, who share two cores with everything else: what is forgotten is so for longer than that.
  expect(checkHistory(relay.events, { handOffMs: 1_000 })).toEqual([]);
  expect(relay.counts.grants).toBeGreaterThan(300);
  expect(relay.counts.nested).toBeGreaterThan(50);
  expect(relay.counts.deadlocks).toBeGreaterThan(0);
});
