// An instance that is called: node called-instance.mjs <addresses> <namespace> <JSON of ServeOptions and `ttl`>
import { CallRefusal, connect } from '@stafett/client';
import { z } from 'zod';

const [addresses, namespace, json] = process.argv.slice(2);
const { ttl, builtIns, ...options } = JSON.parse(json);
const say = (text) => process.stdout.write(`${text}\n`);
const logger = { level: 'info', levels: { values: { debug: 20, info: 30, warn: 40 } } };
let given = 0;
let keep = [];

/** Something to be looked at and changed. */
function showInside() {
  let loads = 0;
  const load = (key) => ({ key, load: ++loads });
  const customers = stafett.caches.create('customers', { max: 50, ttl: '1h', load, tags: ({ key }) => [`office/${key.length}`] });
  stafett.caches.create('empty', { max: 7, load });
  const size = stafett.settings.define('mail/size', z.number().int().positive(), 100);
  stafett.settings.define('mail/on', z.boolean(), false);
  size.onChange((value, before) => say(`size ${before} to ${value}`));
  handlers.customer = ({ key }) => customers.get(key);
  handlers.size = () => ({ value: size.value, overridden: size.override !== undefined });
  handlers['size-again'] = () => stafett.settings.define('mail/size', z.number(), 5).value;
}

/** 64 KiB, of which no two are the same. */
function block(i) {
  const bytes = Buffer.alloc(65_536, i & 255);
  bytes.writeUInt32LE(i, 0);
  return bytes;
}

async function* endless(_, call) {
  try {
    for (let i = 0; ; i++) {
      yield block(i);
      given += 65_536;
    }
  } finally {
    say(`stopped ${call.signal.aborted}`);
  }
}

function spinsInCircles(ms) {
  const until = performance.now() + ms;
  let sum = 0;
  while (performance.now() < until) for (let i = 0; i < 1_000; i++) sum += Math.sqrt(i);
  return sum;
}

const handlers = {
  endless,
  echo: (params) => params,
  given: () => ({ given }),
  fail: () => {
    throw new Error('no luck');
  },
  refuse: () => {
    throw new CallRefusal('OUT_OF_INK', 'there is no ink', { color: 'black' });
  },
  big: async function* ({ mib }, call) {
    call.start({ totalBytes: mib * 2 ** 20, fileName: 'bæ/g.bin' });
    for (let i = 0; i < mib * 16; i++) yield block(i);
  },
  hang: async function* (_, call) {
    yield 'waiting';
    await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
    say('gave up');
  },
  lines: async function* () {
    for (let i = 0; i < 3; i++) yield { i };
  },
  busy: ({ seconds }) => {
    const timer = setInterval(() => spinsInCircles(40), 50);
    setTimeout(() => clearInterval(timer), seconds * 1_000);
    return 'spinning';
  },
  fill: ({ objects }) => {
    keep = Array.from({ length: objects }, (_, i) => ({ i }));
    return keep.length;
  },
  alone: { exclusive: true, handle: endless },
  secret: { privileged: true, handle: () => 'the secret' },
};

const stafett = await connect(addresses, { namespace, ttl, client: 'called', version: '1.2' });
if (options.inside) showInside();
const served = await stafett.instances.serve({
  handlers,
  ...options,
  builtIns: { ...builtIns, ...(builtIns?.['log-level'] && { 'log-level': logger }) },
});
say(`id ${served.id}`);
process.on('SIGTERM', async () => {
  await (options.leaveOnly ? served.close() : stafett.close());
  if (!options.leaveOnly) process.exit();
});
