import { compareBytes } from "../routing/bytes.js";

interface Keyed {
  readonly key: Uint8Array;
}

/**
 * Calls `visit` for the items of several sources in ascending order of their keys, with the place in `sources`. Each source
 * yields pages in ascending order. One page of each is read ahead.
 */
export async function visitInOrder<T extends Keyed>(
  sources: readonly AsyncGenerator<readonly T[]>[],
  visit: (item: T, source: number) => void,
): Promise<void> {
  const cursors = await Promise.all(sources.map((source) => Cursor.open(source)));
  for (;;) {
    let lowest = -1;
    let item: T | undefined;
    for (const [source, cursor] of cursors.entries()) {
      if (cursor.isAtPageEnd) await cursor.turn();
      const { current } = cursor;
      if (current === undefined || (item !== undefined && compareBytes(current.key, item.key) >= 0)) continue;
      lowest = source;
      item = current;
    }
    if (item === undefined) return;
    visit(item, lowest);
    cursors[lowest]?.next();
  }
}

/** The next item of one source. */
class Cursor<T> {
  private page: readonly T[] = [];
  private at = 0;
  private ahead: Promise<IteratorResult<readonly T[]>> | undefined;

  private constructor(private readonly pages: AsyncGenerator<readonly T[]>) {}

  static async open<T>(pages: AsyncGenerator<readonly T[]>): Promise<Cursor<T>> {
    const cursor = new Cursor(pages);
    cursor.readAhead();
    await cursor.turn();
    return cursor;
  }

  /** Undefined at the end of the source. */
  get current(): T | undefined {
    return this.page[this.at];
  }

  /** True when `turn` must be called before `current` is read. */
  get isAtPageEnd(): boolean {
    return this.at >= this.page.length && this.ahead !== undefined;
  }

  next(): void {
    this.at++;
  }

  /** Goes to the next page. */
  async turn(): Promise<void> {
    const { ahead } = this;
    if (ahead === undefined) return;
    this.ahead = undefined;
    const { value, done } = await ahead;
    this.page = done ? [] : value;
    this.at = 0;
    if (!done) this.readAhead();
  }

  private readAhead(): void {
    this.ahead = this.pages.next();
    // `turn` reports the error, if it is still called.
    this.ahead.catch(() => {});
  }
}
