/** A header field. Names are lower case; values are byte strings (latin1). */
export interface Field {
  readonly name: string;
  readonly value: string;
}

/** Bytes that RFC 7541 (4.1) adds to the size of each field. */
const FIELD_OVERHEAD_BYTES = 32;

/** Returns the size of a field in bytes, as RFC 7541 counts it. */
export function fieldSize({ name, value }: Field): number {
  return name.length + value.length + FIELD_OVERHEAD_BYTES;
}

// biome-ignore format: a table
const STATIC: readonly (readonly [string, string])[] = [
  [":authority", ""], [":method", "GET"], [":method", "POST"], [":path", "/"], [":path", "/index.html"],
  [":scheme", "http"], [":scheme", "https"], [":status", "200"], [":status", "204"], [":status", "206"],
  [":status", "304"], [":status", "400"], [":status", "404"], [":status", "500"], ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"], ["accept-language", ""], ["accept-ranges", ""], ["accept", ""],
  ["access-control-allow-origin", ""], ["age", ""], ["allow", ""], ["authorization", ""], ["cache-control", ""],
  ["content-disposition", ""], ["content-encoding", ""], ["content-language", ""], ["content-length", ""],
  ["content-location", ""], ["content-range", ""], ["content-type", ""], ["cookie", ""], ["date", ""], ["etag", ""],
  ["expect", ""], ["expires", ""], ["from", ""], ["host", ""], ["if-match", ""], ["if-modified-since", ""],
  ["if-none-match", ""], ["if-range", ""], ["if-unmodified-since", ""], ["last-modified", ""], ["link", ""],
  ["location", ""], ["max-forwards", ""], ["proxy-authenticate", ""], ["proxy-authorization", ""], ["range", ""],
  ["referer", ""], ["refresh", ""], ["retry-after", ""], ["server", ""], ["set-cookie", ""],
  ["strict-transport-security", ""], ["transfer-encoding", ""], ["user-agent", ""], ["vary", ""], ["via", ""],
  ["www-authenticate", ""],
];

/** The static table of RFC 7541, appendix A: indices 1 to 61. Index 0 is not used. */
export const STATIC_FIELDS: readonly Field[] = [
  { name: "", value: "" },
  ...STATIC.map(([name, value]) => ({ name, value })),
];
export const STATIC_COUNT = STATIC.length;

/** The dynamic table of RFC 7541. The newest field has the lowest index. */
export class DynamicTable {
  /** Fields in order of insertion. Those before `oldest` have been evicted. */
  private fields: Field[] = [];
  private oldest = 0;
  private bytes = 0;
  /** Evicted fields that `fields` no longer has. */
  private evictedBefore = 0;

  /** `capacity` is in bytes, as `fieldSize` counts them. */
  constructor(private capacity: number) {}

  get count(): number {
    return this.fields.length - this.oldest;
  }

  get size(): number {
    return this.bytes;
  }

  get maxSize(): number {
    return this.capacity;
  }

  /** Number of fields ever inserted, which is the serial number of the next one. */
  get inserted(): number {
    return this.evictedBefore + this.fields.length;
  }

  /** Serial number of the oldest field in the table. */
  get first(): number {
    return this.evictedBefore + this.oldest;
  }

  /** Returns the field at `index`, where 0 is the newest; undefined if there is none. */
  get(index: number): Field | undefined {
    return index < this.count ? this.fields[this.fields.length - 1 - index] : undefined;
  }

  /** Inserts a field, evicting old ones. A field larger than the table empties it, is not inserted, and returns false. */
  insert(field: Field): boolean {
    const size = fieldSize(field);
    this.evict(this.capacity - size);
    if (size > this.capacity) return false;
    this.fields.push(field);
    this.bytes += size;
    return true;
  }

  resize(capacity: number): void {
    this.capacity = capacity;
    this.evict(capacity);
  }

  private evict(limit: number): void {
    while (this.bytes > limit && this.oldest < this.fields.length) {
      // In range.
      this.bytes -= fieldSize(this.fields[this.oldest++]!);
    }
    // Evicted fields are dropped in bulk, once they are at least half of the array.
    if (this.oldest > 64 && this.oldest * 2 > this.fields.length) {
      this.fields = this.fields.slice(this.oldest);
      this.evictedBefore += this.oldest;
      this.oldest = 0;
    }
  }
}
