/** A header field. Names are lower case; values are byte strings (latin1). */
export interface Field {
  readonly name: string;
  readonly value: string;
}

/** What RFC 7541 counts for a field besides its bytes. */
export const FIELD_OVERHEAD = 32;

export function fieldSize({ name, value }: Field): number {
  return name.length + value.length + FIELD_OVERHEAD;
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

/** The fields of index 1 to 61; index 0 does not exist. */
export const staticFields: readonly Field[] = [
  { name: "", value: "" },
  ...STATIC.map(([name, value]) => ({ name, value })),
];
export const STATIC_COUNT = STATIC.length;

/** The dynamic table of RFC 7541: the newest field has the lowest index. */
export class DynamicTable {
  /** Fields in order of insertion; those before `oldest` have been evicted. */
  private fields: Field[] = [];
  private oldest = 0;
  private bytes = 0;
  private evictedBefore = 0;

  /** `capacity` in bytes, as `fieldSize` counts them. */
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

  /** How many fields were ever inserted: the serial number of the next one. */
  get inserted(): number {
    return this.evictedBefore + this.fields.length;
  }

  /** Serial number of the oldest field still there. */
  get first(): number {
    return this.evictedBefore + this.oldest;
  }

  /** The field of `index`, the newest being 0; undefined when there is none. */
  get(index: number): Field | undefined {
    return index < this.count ? this.fields[this.fields.length - 1 - index] : undefined;
  }

  /** Inserts a field, evicting old ones. One larger than the table empties it and is not inserted: false. */
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
      this.bytes -= fieldSize(this.fields[this.oldest++]);
    }
    // Evicted fields are let go of in bulk: at least half of the array is dead then.
    if (this.oldest > 64 && this.oldest * 2 > this.fields.length) {
      this.fields = this.fields.slice(this.oldest);
      this.evictedBefore += this.oldest;
      this.oldest = 0;
    }
  }
}
