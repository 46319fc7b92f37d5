import { expect, test } from 'vitest';
import { lifeOf } from '../../server/src/redis/master-watch.js';

const NONE = '0'.repeat(40);

/** As Redis answers INFO. */
function info(run: string, before: string, offset: number): string {
  return `# Server\r\nrun_id:${run}\r\n# Replication\r\nrole:master\r\nmaster_replid:aaaa\r\nmaster_replid2:${before}\r\nsecond_repl_offset:${offset}\r\n`;
}

test('a life is named by the process as long as that was never a replica', () => {
  expect(lifeOf(info('r1', NONE, -1))).toBe('r1');
  expect(lifeOf('run_id:r1\r\n')).toBe('r1'); // of one that tells no more
  expect(lifeOf('role:master\r\n')).toBeUndefined();
});

test('each time that it was a replica makes it another', () => {
  const [one, two] = ['1234567890'.repeat(4), 'abcdefabcd'.repeat(4)];
  const lives = [info('r1', NONE, -1), info('r1', one, 100), info('r1', one, 200), info('r1', two, 200), info('r2', two, 200)].map(lifeOf);
  expect(new Set(lives).size).toBe(lives.length);
  expect(lifeOf(info('r1', one, 100))).toBe('r1-12345678-100');
});
