import type { Redis } from 'ioredis';

// A register that a transaction reads and writes in two steps, in a Redis that never suffers. `v` its value, `t` the highest token that it
// has seen, `n` how many writes it took.

const READ = `
if ARGV[1] ~= '' then
  if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 't') or '0') then return -1 end
  redis.call('HSET', KEYS[1], 't', ARGV[1])
end
return tonumber(redis.call('HGET', KEYS[1], 'v') or '0')`;

const WRITE = `
if ARGV[1] ~= '' and tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 't') or '0') then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'n', 1)
return 1`;

/** A fenced one gets the token of whoever reads or writes, and refuses a lower one; an unfenced one gets ''. */
export class Register {
  constructor(
    private readonly store: Redis,
    private readonly key: string,
  ) {}

  /** @returns -1 when the token is of a holder of the past. */
  async read(token: string): Promise<number> {
    return Number(await this.store.eval(READ, 1, this.key, token));
  }

  /** @returns false when the token is of a holder of the past. */
  async write(token: string, value: number): Promise<boolean> {
    return (await this.store.eval(WRITE, 1, this.key, token, value)) === 1;
  }

  /** How many of the writes that it took were overwritten by somebody who had not read them. */
  async lostUpdates(): Promise<number> {
    const [value, writes] = await this.store.hmget(this.key, 'v', 'n');
    return Number(writes ?? 0) - Number(value ?? 0);
  }
}
