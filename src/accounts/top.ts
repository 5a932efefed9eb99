/** Keeps the largest of many items, in bounded memory. */
export class Top<T> {
  private items: T[] = [];

  constructor(
    /** How many to keep, at least 1. */
    private readonly size: number,
    private readonly measure: (item: T) => number,
  ) {}

  add(item: T): void {
    this.items.push(item);
    if (this.items.length >= 2 * this.size) this.items = this.largest();
  }

  /** The largest first. */
  largest(): T[] {
    return this.items.sort((a, b) => this.measure(b) - this.measure(a)).slice(0, this.size);
  }
}
