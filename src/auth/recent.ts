/**
 * A map that forgets what has not been looked up for long: it holds `size` to `2 * size` entries at most, in two
 * generations. What is found in the older one moves to the younger; when that is full, the older one is dropped.
 */
export class Recent<V> {
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

  /** Entries held now. */
  get count(): number {
    return this.young.size + this.old.size;
  }
}
