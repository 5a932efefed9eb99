const MIN_SLOTS = 16;
/** Bits of a slot that come from the id alone. */
const PLAIN_BITS = 14;
/**
 * Consecutive ids have consecutive slots. The upper bits of an id shift its slot by secret random offsets, so that a
 * peer that skips ids cannot make them collide.
 */
const OFFSETS = Int32Array.from({ length: 512 }, () => Math.random() * 2 ** 31);

function slotOf(id: number): number {
  const n = id >>> 1;
  const upper = n >>> PLAIN_BITS;
  // In range: the upper bits of an id are at most 16.
  return n + OFFSETS[upper & 0xff]! + OFFSETS[0x100 + (upper >>> 8)]!;
}

/** Tables with more slots are dropped when they become empty. */
const MAX_EMPTY_SLOTS = 1024;

/**
 * A connection's streams by id, as a hash table with open addressing. With consecutive ids, nearly every stream is
 * in its own slot.
 *
 * This is not a `Map`, because streams come and go with every call. When a `Map` grows, its old table keeps
 * references to the new one and to all streams of that moment. Once one such table is in the old generation, the
 * garbage collector takes all later ones to be live, and promotes half of all short-lived objects with them.
 */
export class StreamTable<S extends { readonly id: number }> implements Iterable<S> {
  size = 0;
  private slots = new Array<S | undefined>(MIN_SLOTS).fill(undefined);

  get(id: number): S | undefined {
    const { slots } = this;
    const mask = slots.length - 1;
    for (let i = slotOf(id) & mask; ; i = (i + 1) & mask) {
      const stream = slots[i];
      if (stream === undefined || stream.id === id) return stream;
    }
  }

  /** Adds a stream, whose id must not be in the table. */
  add(stream: S): void {
    this.size++;
    if (this.size * 2 > this.slots.length) this.grow();
    this.put(stream);
  }

  /** Removes a stream, if it is in the table. */
  delete(stream: S): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let hole = slotOf(stream.id) & mask;
    while (slots[hole] !== stream) {
      if (slots[hole] === undefined) return;
      hole = (hole + 1) & mask;
    }
    this.size--;
    if (this.size === 0 && slots.length > MAX_EMPTY_SLOTS) {
      this.slots = new Array<S | undefined>(MIN_SLOTS).fill(undefined);
      return;
    }
    // Streams that were displaced by this one move up.
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const next = slots[i];
      if (next === undefined) break;
      const own = slotOf(next.id) & mask;
      if (((i - own) & mask) < ((i - hole) & mask)) continue;
      slots[hole] = next;
      hole = i;
    }
    slots[hole] = undefined;
  }

  /** Calls `visit` for all streams, in any order. It must not add or delete streams. */
  visitAll(visit: (stream: S) => void): void {
    for (const stream of this.slots) if (stream !== undefined) visit(stream);
  }

  /** Iterates over a snapshot of all streams, in any order. */
  *[Symbol.iterator](): Iterator<S> {
    for (const stream of this.slots.filter((slot) => slot !== undefined)) yield stream;
  }

  private put(stream: S): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let i = slotOf(stream.id) & mask;
    while (slots[i] !== undefined) i = (i + 1) & mask;
    slots[i] = stream;
  }

  private grow(): void {
    const { slots } = this;
    this.slots = new Array<S | undefined>(slots.length * 2).fill(undefined);
    for (const stream of slots) if (stream !== undefined) this.put(stream);
  }
}
