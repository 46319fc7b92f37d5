import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../clients/typescript/src/backoff.js';
import { fromProtoDuration, toMs, toProtoDuration } from '../../clients/typescript/src/durations.js';
import { PipelineCommand, PipelineRequest } from '../../clients/typescript/src/gen/stafett/v1/lock.js';
import { toSettings } from '../../clients/typescript/src/options.js';
import { weigh } from '../../clients/typescript/src/weigh.js';

describe('durations', () => {
  test.each([
    [0, 0],
    [1500, 1500],
    [0.5, 0.5],
    ['250ms', 250],
    ['5s', 5_000],
    ['1.5s', 1_500],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ])('%j is %d ms', (text, ms) => expect(toMs(text, 'ttl')).toBe(ms));

  test.each(['', '5', 's', '5 s', '-5s', '5d', '1e3ms', ' 5s', '5S', -1, Number.NaN, Number.POSITIVE_INFINITY, true, null, {}])(
    '%j is refused, and the option is named',
    (wrong) => expect(() => toMs(wrong as string, 'waitTimeout')).toThrow(/^waitTimeout: .*'250ms', '5s', '2m', '1h'/),
  );

  test('survive the way to the server and back', () => {
    for (const ms of [0, 1, 999, 1_000, 1_001, 86_400_000, 0.25]) expect(fromProtoDuration(toProtoDuration(ms))).toBe(ms);
    expect(toProtoDuration(1_500)).toEqual({ seconds: 1n, nanos: 500_000_000 });
  });
});

describe('options', () => {
  test('have defaults', () => {
    expect(toSettings('a:1', {})).toMatchObject({
      addresses: ['a:1'],
      namespace: 'default',
      ttlMs: 15_000,
      safetyMarginMs: 1_500,
      connectTimeoutMs: 10_000,
      offlineTimeoutMs: Number.POSITIVE_INFINITY,
    });
    expect(toSettings(['a:1', 'b:2'], { ttl: '1s' })).toMatchObject({ addresses: ['a:1', 'b:2'], safetyMarginMs: 200 });
    expect(toSettings('a:1, b:2', {}).addresses).toEqual(['a:1', 'b:2']);
  });

  test.each([
    ['', {}, /^address: /],
    [[], {}, /^address: /],
    ['a:1,', {}, /^address: /],
    ['a:1', { ttl: 'soon' }, /^ttl: "soon" is not a duration/],
    ['a:1', { connectTimeout: -1 }, /^connectTimeout: -1 is not/],
    ['a:1', { ttl: '2s', safetyMargin: '1s' }, /^safetyMargin: 1000 ms; must be less than half of the ttl of 2000 ms/],
  ])('%j, %j is refused', (address, options, message) => expect(() => toSettings(address as string, options)).toThrow(message));
});

describe('backoff', () => {
  const longest = () => 1;

  test('there is none while some servers have not been tried', () => {
    expect([0, 1, 2, 3].map((count) => backoffMs({ count, servers: 3 }, longest))).toEqual([0, 0, 0, 20]);
  });

  test('it grows from 20 ms to 1 s, and is by chance between half and all of that', () => {
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((count) => backoffMs({ count, servers: 1 }, longest));
    expect(all).toEqual([20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000]);
    expect(backoffMs({ count: 7, servers: 1 }, () => 0)).toBe(500);
  });

  test('it is at least what the server asks for', () => {
    expect(backoffMs({ count: 1, servers: 1, retryDelayMs: 500 }, longest)).toBe(500);
    expect(backoffMs({ count: 7, servers: 1, retryDelayMs: 500 }, longest)).toBe(1_000);
  });
});

describe('the weight of a command', () => {
  const owner = { host: '', thread: 'tråd 1', client: '', traceId: 'f'.repeat(32) };
  const acquire = {
    names: ['customer/42', '税'.repeat(80), '🦊'],
    sessionId: 'x'.repeat(64),
    ttl: undefined,
    waitTimeout: { seconds: 86_400n, nanos: 999_999_999 },
    requestId: 'y'.repeat(64),
    owner,
    purpose: 'æøå',
    heldLockIds: Array.from({ length: 100 }, (_, i) => `session.${i}`),
  };
  const commands: NonNullable<PipelineCommand['command']>[] = [
    { $case: 'acquire', value: acquire },
    { $case: 'acquire', value: { ...acquire, names: ['a'], heldLockIds: [], owner: undefined, purpose: '' } },
    { $case: 'release', value: { lockId: `${'x'.repeat(64)}.1` } },
    { $case: 'cancel', value: { sessionId: 'x'.repeat(64), requestId: 'y'.repeat(64) } },
  ];

  test.each(commands)('of $$case is never less than its bytes in a message', (command) => {
    const whole = { id: 2n ** 63n, command };
    const bytes = PipelineRequest.encode({ commands: [whole] }).finish().length;
    expect(weigh(whole)).toBeGreaterThanOrEqual(bytes);
    expect(PipelineCommand.decode(PipelineCommand.encode(whole).finish())).toEqual(whole);
  });
});
