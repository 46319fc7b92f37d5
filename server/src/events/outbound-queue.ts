/** What to do when a reader is too slow. */
export type SlowPolicy = 'disconnect' | 'drop-oldest' | 'conflate';

interface Item<T> {
  readonly value: T;
  readonly bytes: number;
  /** Of a publication; undefined for what must not be dropped. */
  readonly key: string | undefined;
}

/** What waits for one reader: at most so many bytes. */
export class OutboundQueue<T> {
  readonly #items = new Map<number, Item<T>>();
  /** Where the latest with each key stands. */
  readonly #latest = new Map<string, number>();
  #next = 0;
  #bytes = 0;
  #dropped = 0;

  constructor(
    readonly policy: SlowPolicy,
    readonly bytesMax: number,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#items.size === 0 && this.#dropped === 0;
  }

  /** How many were dropped since this was asked last. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /**
   * Appends something that may be dropped.
   * @param key what it replaces the last value of, if that still waits; '' for nothing
   * @returns how many it took the place of; undefined if there is no room for it, and the reader has to go
   */
  push(value: T, bytes: number, key: string): number | undefined {
    const before = this.#dropped;
    if (this.policy === 'conflate' && key !== '') this.#replace(key);
    if (!this.#makeRoom(bytes)) return undefined;
    this.#append({ value, bytes, key });
    if (this.policy === 'conflate' && key !== '') this.#latest.set(key, this.#next);
    return this.#dropped - before;
  }

  /** Appends something that is not dropped. @returns false if there is no room for it */
  pushFirmly(value: T, bytes: number): boolean {
    if (!this.#makeRoom(bytes)) return false;
    this.#append({ value, bytes, key: undefined });
    return true;
  }

  /** Takes the oldest, as many as fit into so many bytes, but at least one. */
  take(bytesMax: number): T[] {
    const values: T[] = [];
    let bytes = 0;
    for (const [place, item] of this.#items) {
      if (values.length > 0 && bytes + item.bytes > bytesMax) break;
      bytes += item.bytes;
      values.push(item.value);
      this.#remove(place, item);
    }
    return values;
  }

  clear(): void {
    this.#items.clear();
    this.#latest.clear();
    this.#bytes = 0;
  }

  #append(item: Item<T>): void {
    this.#next++;
    this.#items.set(this.#next, item);
    this.#bytes += item.bytes;
  }

  #replace(key: string): void {
    const place = this.#latest.get(key);
    if (place !== undefined) this.#drop(place, this.#items.get(place) as Item<T>);
  }

  #makeRoom(bytes: number): boolean {
    if (this.#bytes + bytes <= this.bytesMax) return true;
    if (this.policy === 'disconnect') return false;
    for (const [place, item] of this.#items) {
      if (item.key === undefined) continue;
      this.#drop(place, item);
      if (this.#bytes + bytes <= this.bytesMax) return true;
    }
    return false;
  }

  #drop(place: number, item: Item<T>): void {
    this.#remove(place, item);
    this.#dropped++;
  }

  #remove(place: number, item: Item<T>): void {
    this.#items.delete(place);
    this.#bytes -= item.bytes;
    if (item.key !== undefined && this.#latest.get(item.key) === place) this.#latest.delete(item.key);
  }
}
