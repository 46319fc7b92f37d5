import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ErrorReason } from '../../server/src/gen/stafett/v1/error.js';
import { closeClient, connectFirst, createClient } from '../../server/src/redis/client.js';
import { checkVersion, RedisConnection } from '../../server/src/redis/connection.js';
import { Subscriber } from '../../server/src/redis/subscriber.js';
import { type MasterTarget, parseRedisTarget } from '../../server/src/redis/target.js';
import { eventually } from '../support/eventually.js';
import { startRedis, type TestRedis } from '../support/redis.js';

const UNAVAILABLE = { reason: ErrorReason.REDIS_UNAVAILABLE };

const LIBRARY = {
  name: 'echo_1',
  source: `#!lua name=echo_1
redis.register_function('echo_1', function(keys, args)
  if args[1] == 'fail' then return redis.error_reply('ERR told to') end
  return keys[1] .. '=' .. args[1]
end)`,
};

function masterAt(url: string): MasterTarget {
  return parseRedisTarget(url) as MasterTarget;
}

let redis: TestRedis;
let log: { level: number; msg: string }[];
let connection: RedisConnection;
let subscriber: Subscriber;

const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) });

beforeEach(async () => {
  log = [];
  redis = await startRedis();
  const options = { target: masterAt(redis.url), logger };
  connection = new RedisConnection(options);
  subscriber = new Subscriber(options);
  await Promise.all([connection.connect(), subscriber.connect()]);
  await eventually('the subscriber', () => subscriber.ready);
  log = [];
});

afterEach(async () => {
  connection.close();
  subscriber.close();
  await redis.stop();
});

describe('the connection for commands', () => {
  it('loads the library when Redis does not know it, any more', async () => {
    const bytes = Buffer.from([0, 255, 13, 10]);
    const expected = Buffer.concat([Buffer.from('k='), bytes]);
    expect(await connection.callFunction(LIBRARY, '', ['k'], [bytes])).toEqual(expected);
    await connection.command('FUNCTION', 'FLUSH');
    const many = Array.from({ length: 50 }, () => connection.callFunction(LIBRARY, '', ['k'], [bytes]));
    expect(await Promise.all(many)).toEqual(many.map(() => expected));
  });

  it('hands on what the library itself refused, without the arguments', async () => {
    const error = await connection.callFunction(LIBRARY, '', ['k'], [Buffer.from('fail')]).catch((refusal: Error) => refusal);
    expect(error).toMatchObject({ message: expect.stringContaining('told to') });
    expect(error).not.toHaveProperty('command');
  });

  it('fails at once while Redis is away, and comes back by itself', async () => {
    const states: boolean[] = [];
    connection.onStateChange((ready) => states.push(ready));
    await redis.kill();
    await eventually('the loss', () => !connection.ready);
    let error: unknown;
    connection.command('PING').catch((refusal: Error) => {
      error = refusal;
    });
    await new Promise(setImmediate); // sooner than any attempt to reconnect
    expect(error).toMatchObject({ ...UNAVAILABLE, cause: expect.any(Error) });
    await redis.start();
    await connection.whenReady();
    expect(await connection.command('PING')).toBe('PONG');
    expect(states).toEqual([false, true]);
    expect(connection.reconnects).toBe(1);
    expect(log.filter(({ level, msg }) => level === 40 && msg.includes('Redis connection'))).toHaveLength(2); // one for each connection
  });

  it('asks one that is no master less and less often, and goes on when it is one', async () => {
    const own = redis.client();
    await own.replicaof('127.0.0.1', 1);
    await own.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    const attempts = () => log.filter(({ msg }) => msg.includes('cannot be used')).length;
    await eventually('some attempts', () => attempts() >= 8);
    const before = attempts();
    await sleep(2_000);
    expect(attempts() - before).toBeLessThan(6); // it would be some hundred without a pause
    expect(log.filter(({ level, msg }) => level === 40 && msg.includes('cannot be used'))).toHaveLength(1);
    expect(connection.ready).toBe(false);
    await own.replicaof('NO', 'ONE');
    await connection.whenReady(AbortSignal.timeout(2_000));
  });

  it('does not end when a sentinel announces another master while its address is still looked for', async () => {
    const client = createClient(masterAt(redis.url), 'test', logger);
    onTestFinished(() => closeClient(client));
    await connectFirst(client, masterAt(redis.url), 2_000);
    // What ioredis does to itself then.
    client.once('connecting', () => (client as unknown as { connector: { disconnect(): void } }).connector.disconnect());
    let ended = false;
    client.once('end', () => {
      ended = true;
    });
    client.disconnect(true);
    await eventually('ioredis to give up', () => ended);
    await eventually('the client to be back', async () => (await client.ping()) === 'PONG', { timeoutMs: 2_000 });
  });

  it('fails what was in flight, and does not repeat it', async () => {
    await connection.command('SET', 'n', '0');
    await redis.pause();
    const inFlight = Promise.allSettled([connection.command('INCR', 'n'), connection.command('INCR', 'n')]);
    await redis.kill();
    expect(await inFlight).toMatchObject([{ reason: UNAVAILABLE }, { reason: UNAVAILABLE }]);
    await redis.start();
    await connection.whenReady();
    expect(await connection.command('EXISTS', 'n')).toBe(0);
  });

  it('finds out that Redis is frozen, also when it has nothing to ask', async () => {
    await redis.pause();
    await eventually('both to notice', () => !connection.ready && !subscriber.ready);
    await redis.resume();
    await eventually('both to be back', () => connection.ready && subscriber.ready);
  }, 30_000);

  it('lets nobody wait for ever', async () => {
    await redis.kill();
    await eventually('the loss', () => !connection.ready);
    const abort = new AbortController();
    const aborted = connection.whenReady(abort.signal).catch((error: Error) => error.name);
    abort.abort();
    expect(await aborted).toBe('AbortError');
    const closed = connection.whenReady().catch((error: Error) => error);
    connection.close();
    expect(await closed).toMatchObject(UNAVAILABLE);
    await expect(connection.whenReady()).rejects.toMatchObject(UNAVAILABLE);
  });
});

describe('the subscriber', () => {
  it('hears what is published once it is confirmed, each listener by itself', async () => {
    const heard: string[] = [];
    const offA = await subscriber.subscribe('c', (message) => heard.push(`a:${message}`));
    const offB = await subscriber.subscribe('c', (message) => heard.push(`b:${message}`));
    expect(await connection.command('PUBLISH', 'c', '1')).toBe(1);
    await eventually('both', () => heard.length === 2);
    await offA();
    expect(await connection.command('PUBLISH', 'c', '2')).toBe(1);
    await eventually('the other', () => heard.length === 3);
    expect(heard).toEqual(['a:1', 'b:1', 'b:2']);
    await offB();
    await offB();
    expect(await connection.command('PUBLISH', 'c', '3')).toBe(0);
  });

  it('passes bytes on unchanged, and survives a listener that throws', async () => {
    const heard: Buffer[] = [];
    await subscriber.subscribe('c', () => {
      throw new Error('mine');
    });
    await subscriber.subscribe('c', (message) => heard.push(message));
    await connection.command('PUBLISH', 'c', Buffer.from([0, 255, 128]));
    await eventually('it', () => heard.length === 1);
    expect(heard[0]).toEqual(Buffer.from([0, 255, 128]));
    expect(log.some(({ level, msg }) => level === 50 && msg.includes('listener'))).toBe(true);
  });

  it('is back on all channels before it says that it is back', async () => {
    const heard: string[] = [];
    for (const channel of ['a', 'b']) await subscriber.subscribe(channel, (message) => heard.push(`${channel}:${message}`));
    const back = new Promise<void>((resolve) => subscriber.onReconnect(resolve));
    await redis.kill();
    await eventually('the loss', () => !subscriber.ready);
    await expect(subscriber.subscribe('d', () => {})).rejects.toMatchObject(UNAVAILABLE);
    await redis.start();
    await back;
    await connection.whenReady();
    expect(await connection.command('PUBLISH', 'a', '1')).toBe(1);
    expect(await connection.command('PUBLISH', 'b', '2')).toBe(1);
    expect(await connection.command('PUBLISH', 'd', '3')).toBe(0);
    await eventually('both', () => heard.length === 2);
    expect(heard).toEqual(['a:1', 'b:2']);
    expect(subscriber.reconnects).toBe(1);
  });
});

describe('the first connect', () => {
  let silent: Server | undefined;
  afterEach(() => silent?.close());

  it('names the address, the problem and what to do, but not the password', async () => {
    const target = masterAt('redis://u:geheim@127.0.0.1:1/2');
    const error = await new RedisConnection({ target, logger, connectTimeoutMs: 200 }).connect().catch((refusal: Error) => refusal);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^no Redis at redis:\/\/127\.0\.0\.1:1\/2 within 0\.2 s .*ECONNREFUSED.*REDIS_URL/),
    });
    expect(String(error) + JSON.stringify(log)).not.toContain('geheim');
  });

  it('gives up on something that accepts and does not answer', async () => {
    silent = createServer();
    await new Promise<void>((resolve) => silent?.listen(0, '127.0.0.1', resolve));
    const target = masterAt(`redis://127.0.0.1:${(silent.address() as { port: number }).port}`);
    await expect(new RedisConnection({ target, logger, connectTimeoutMs: 200 }).connect()).rejects.toThrow('no answer');
  });

  it('says at once that Redis refuses the log-in', async () => {
    await connection.command('CONFIG', 'SET', 'requirepass', 'right');
    const target = masterAt(redis.url);
    await expect(new RedisConnection({ target, logger }).connect()).rejects.toThrow(/refuses the log-in .*NOAUTH/);
  });

  it('refuses a Redis that has no functions', () => {
    expect(() => checkVersion('# Server\r\nredis_version:6.0.16\r\nredis_git:0', 'redis://h:1')).toThrow(
      'redis://h:1 is version 6.0.16; it must be',
    );
    for (const info of ['redis_version:7.0.15\r\n', 'redis_version:10.1.0\r\n', '']) checkVersion(info, '');
  });
});
