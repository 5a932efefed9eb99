const SMALLEST = 16;
/** Bits of a place that come from the id alone. */
const PLAIN_BITS = 14;
/**
 * Neighbours have neighbouring places, but a peer that leaves out ids cannot choose which ones share a place: the upper
 * bits of ids move the places by amounts that only this process knows.
 */
const MOVES = Int32Array.from({ length: 512 }, () => Math.random() * 2 ** 31);

function placeOf(id: number): number {
  const n = id >>> 1;
  const upper = n >>> PLAIN_BITS;
  return n + MOVES[upper & 0xff] + MOVES[0x100 + (upper >>> 8)];
}

/** A larger table is given up when the last stream has gone. */
const LARGE = 1024;

/**
 * A connection's streams by id: a hash table with open addressing. With ids that follow each other nearly every stream is in its
 * own place.
 *
 * Not a `Map`: streams come and go for every call, and whenever a `Map` makes room it leaves its old table behind, which points
 * to the new one and to all streams of that moment. As soon as one such table has grown old, the collector takes all later ones
 * for alive, one after the other, and half of all short-lived objects grow old with them.
 */
export class StreamTable<S extends { readonly id: number }> implements Iterable<S> {
  size = 0;
  private places = new Array<S | undefined>(SMALLEST).fill(undefined);

  get(id: number): S | undefined {
    const { places } = this;
    const mask = places.length - 1;
    for (let i = placeOf(id) & mask; ; i = (i + 1) & mask) {
      const stream = places[i];
      if (stream === undefined || stream.id === id) return stream;
    }
  }

  /** Takes in a stream whose id is not in the table. */
  add(stream: S): void {
    this.size++;
    if (this.size * 2 > this.places.length) this.grow();
    this.put(stream);
  }

  /** Takes out a stream, if it is in the table. */
  delete(stream: S): void {
    const { places } = this;
    const mask = places.length - 1;
    let hole = placeOf(stream.id) & mask;
    while (places[hole] !== stream) {
      if (places[hole] === undefined) return;
      hole = (hole + 1) & mask;
    }
    this.size--;
    if (this.size === 0 && places.length > LARGE) {
      this.places = new Array<S | undefined>(SMALLEST).fill(undefined);
      return;
    }
    // Whatever was put behind its own place because this one was taken moves up.
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const next = places[i];
      if (next === undefined) break;
      const own = placeOf(next.id) & mask;
      if (((i - own) & mask) < ((i - hole) & mask)) continue;
      places[hole] = next;
      hole = i;
    }
    places[hole] = undefined;
  }

  /** Calls `visit` for all streams, in no particular order. It must not add or delete any. */
  visitAll(visit: (stream: S) => void): void {
    for (const stream of this.places) if (stream !== undefined) visit(stream);
  }

  /** All streams as they are now, in no particular order. */
  *[Symbol.iterator](): Iterator<S> {
    for (const stream of this.places.filter((place) => place !== undefined)) yield stream;
  }

  private put(stream: S): void {
    const { places } = this;
    const mask = places.length - 1;
    let i = placeOf(stream.id) & mask;
    while (places[i] !== undefined) i = (i + 1) & mask;
    places[i] = stream;
  }

  private grow(): void {
    const { places } = this;
    this.places = new Array<S | undefined>(places.length * 2).fill(undefined);
    for (const stream of places) if (stream !== undefined) this.put(stream);
  }
}
