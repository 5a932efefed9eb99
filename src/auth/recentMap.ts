/**
 * A map that forgets entries which have not been read for long. It has two generations of at most `size` entries. An entry
 * that is found in the old one moves to the young one. When that is full, it replaces the old one.
 */
export class RecentMap<V> {
  private young = new Map<string, V>();
  private old = new Map<string, V>();

  constructor(private readonly size: number) {}

  get(key: string): V | undefined {
    const found = this.young.get(key);
    if (found !== undefined) return found;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: string, value: V): void {
    if (this.young.size >= this.size) {
      this.old = this.young;
      this.young = new Map();
    }
    this.old.delete(key);
    this.young.set(key, value);
  }

  /** Number of entries. */
  get count(): number {
    return this.young.size + this.old.size;
  }
}
