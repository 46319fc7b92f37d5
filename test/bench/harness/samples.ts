/** Many numbers, without an object for each and without moving them often. */
export class Samples {
  private values = new Float64Array(1 << 16);
  private count = 0;
  private sorted = true;

  get length(): number {
    return this.count;
  }

  add(value: number): void {
    if (this.count === this.values.length) {
      const more = new Float64Array(2 * this.count);
      more.set(this.values);
      this.values = more;
    }
    this.values[this.count++] = value;
    this.sorted = false;
  }

  /** The value below which `fraction` of the samples lie (nearest rank); NaN of none. */
  percentile(fraction: number): number {
    if (this.count === 0) return Number.NaN;
    if (!this.sorted) this.values.subarray(0, this.count).sort();
    this.sorted = true;
    return this.values[Math.max(1, Math.ceil(fraction * this.count)) - 1] as number;
  }
}
