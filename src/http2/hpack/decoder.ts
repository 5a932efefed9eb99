// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import { ConnectionError, DEFAULT_TABLE_SIZE, ErrorCode } from "../protocol.js";
import { huffmanDecode } from "./huffman.js";
import { DynamicTable, type Field, fieldSize, STATIC_COUNT, STATIC_FIELDS } from "./table.js";

/** Most blocks cached per connection. */
const CACHED_BLOCKS = 8;
/** Length of the longest block that is cached. */
const MAX_CACHED_BYTES = 512;

interface Cached<T> {
  readonly block: Buffer;
  readonly generation: number;
  readonly value: T;
}

/**
 * Decodes the header blocks of one connection. `build` computes the meaning of a block, which is cached. Most
 * requests of a connection have the same bytes, and these mean the same as long as the dynamic table does not
 * change.
 */
export class HpackDecoder<T> {
  private readonly table = new DynamicTable(DEFAULT_TABLE_SIZE);
  /** Counts changes of the dynamic table. */
  private generation = 0;
  private readonly cache: Cached<T>[] = [];
  private nextSlot = 0;
  private position = 0;

  /**
   * `build` gets the fields of a block, or undefined if they exceed `maxListBytes`, as SETTINGS_MAX_HEADER_LIST_SIZE
   * counts them. The dynamic table is kept up to date even then. `build` must not keep the array.
   */
  constructor(
    private readonly build: (fields: readonly Field[] | undefined) => T,
    private readonly maxListBytes: number,
  ) {}

  /** Decodes the complete block `bytes[start, end)`. Throws a COMPRESSION_ERROR, which must end the connection. */
  decode(bytes: Buffer, start: number, end: number): T {
    for (const cached of this.cache) {
      if (cached.generation === this.generation && same(cached.block, bytes, start, end)) return cached.value;
    }
    const { generation } = this;
    const value = this.build(this.fields(bytes, start, end));
    if (generation === this.generation && end - start <= MAX_CACHED_BYTES) {
      this.cache[this.nextSlot] = { block: Buffer.from(bytes.subarray(start, end)), generation, value };
      this.nextSlot = (this.nextSlot + 1) % CACHED_BLOCKS;
    }
    return value;
  }

  private fields(bytes: Buffer, start: number, end: number): Field[] | undefined {
    const fields: Field[] = [];
    let size = 0;
    this.position = start;
    while (this.position < end) {
      const first = bytes[this.position]!;
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw broken("table size update after a field");
        this.resize(this.integer(bytes, end, 5));
        continue;
      }
      const field = first & 0x80 ? this.lookup(this.integer(bytes, end, 7)) : this.literal(bytes, end, first);
      size += fieldSize(field);
      if (size <= this.maxListBytes) fields.push(field);
    }
    return size <= this.maxListBytes ? fields : undefined;
  }

  private resize(size: number): void {
    if (size > DEFAULT_TABLE_SIZE) throw broken("table size beyond the limit");
    this.generation++;
    this.table.resize(size);
  }

  private literal(bytes: Buffer, end: number, first: number): Field {
    const indexed = (first & 0x40) !== 0;
    const index = this.integer(bytes, end, indexed ? 6 : 4);
    const name = index === 0 ? this.text(bytes, end) : this.lookup(index).name;
    const field = { name, value: this.text(bytes, end) };
    if (indexed) {
      this.generation++;
      this.table.insert(field);
    }
    return field;
  }

  private lookup(index: number): Field {
    const field =
      index <= STATIC_COUNT && index > 0 ? STATIC_FIELDS[index] : this.table.get(index - STATIC_COUNT - 1);
    if (index === 0 || field === undefined) throw broken(`no field at index ${index}`);
    return field;
  }

  private text(bytes: Buffer, end: number): string {
    if (this.position >= end) throw broken("truncated");
    const huffman = (bytes[this.position]! & 0x80) !== 0;
    const length = this.integer(bytes, end, 7);
    const start = this.position;
    if (length > end - start) throw broken("truncated");
    this.position = start + length;
    return huffman
      ? huffmanDecode(bytes, start, this.position)
      : bytes.toString("latin1", start, this.position);
  }

  /** Reads an integer with a prefix of `bits` bits (RFC 7541, 5.1), up to about 2^28, far more than any valid block has. */
  private integer(bytes: Buffer, end: number, bits: number): number {
    const mask = (1 << bits) - 1;
    let value = bytes[this.position++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.position >= end) throw broken("truncated");
      const byte = bytes[this.position++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw broken("integer too long");
  }
}

function same(block: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const { length } = block;
  if (length !== end - start) return false;
  for (let i = 0; i < length; i++) if (block[i] !== bytes[start + i]) return false;
  return true;
}

function broken(text: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, `header block: ${text}`);
}
