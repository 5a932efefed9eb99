/** A set of keys, as half-open ranges. Keys are kept as Latin-1 text, which compares as the bytes do. */
export class KeyRanges {
  private ranges: { begin: string; end: string }[] = [];
  private merged = true;

  static text(key: Uint8Array): string {
    return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
  }

  /**
   * Adds `[key, rangeEnd)`, or the one key when `rangeEnd` is empty. A `rangeEnd` of one zero byte is NOT unbounded
   * here but empty, as in etcd's check for overlapping writes.
   */
  add(key: Uint8Array, rangeEnd: Uint8Array): void {
    const begin = KeyRanges.text(key);
    const end = rangeEnd.length === 0 ? `${begin}\0` : KeyRanges.text(rangeEnd);
    if (begin >= end) return;
    this.ranges.push({ begin, end });
    this.merged = false;
  }

  addAll(other: KeyRanges): void {
    if (other.ranges.length === 0) return;
    this.ranges.push(...other.ranges.map((range) => ({ ...range })));
    this.merged = false;
  }

  has(key: string): boolean {
    this.merge();
    let low = 0;
    let high = this.ranges.length;
    /** The last range that begins at or before the key, so far. */
    let candidate: { begin: string; end: string } | undefined;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.ranges[middle];
      if (range !== undefined && range.begin <= key) {
        candidate = range;
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return candidate !== undefined && key < candidate.end;
  }

  private merge(): void {
    if (this.merged) return;
    this.merged = true;
    const sorted = this.ranges.sort((a, b) => (a.begin < b.begin ? -1 : a.begin > b.begin ? 1 : 0));
    this.ranges = [];
    for (const range of sorted) {
      const last = this.ranges.at(-1);
      if (last === undefined || last.end < range.begin) this.ranges.push(range);
      else if (last.end < range.end) last.end = range.end;
    }
  }
}
