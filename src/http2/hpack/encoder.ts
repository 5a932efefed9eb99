import { DEFAULT_TABLE_SIZE } from "../protocol.js";
import { DynamicTable, type Field, fieldSize, STATIC_COUNT, STATIC_FIELDS } from "./table.js";

/** A field to send. */
export interface OutField extends Field {
  /** True for a field that will be sent again: it enters the peer's dynamic table. */
  readonly repeats?: boolean;
}

/** A list of fields whose encoding is cached. Each connection needs its own. */
export class Block {
  bytes: Buffer | undefined;
  generation = -1;

  constructor(readonly fields: readonly OutField[]) {}
}

/** Indices in the static table, by name and value and by name. */
const STATIC_PAIRS = new Map<string, number>();
const STATIC_NAMES = new Map<string, number>();
STATIC_FIELDS.forEach(({ name, value }, i) => {
  if (i === 0) return;
  STATIC_PAIRS.set(`${name}\n${value}`, i);
  if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, i);
});

/** Encodes the header blocks of one connection. It uses no Huffman codes: a repeated field takes one byte anyway. */
export class HpackEncoder {
  private readonly table = new DynamicTable(DEFAULT_TABLE_SIZE);
  /** Serial numbers of the fields in the dynamic table, by name and value. */
  private readonly serials = new Map<string, number>();
  /** Counts changes of the dynamic table. */
  private generation = 0;
  /** The smallest and the latest table size since the last block. The next block announces them. */
  private pendingMin: number | undefined;
  private pendingSize = 0;

  /** Applies the peer's SETTINGS_HEADER_TABLE_SIZE, up to the default. */
  setMaxTableSize(size: number): void {
    const wanted = Math.min(size, DEFAULT_TABLE_SIZE);
    if (wanted === this.table.maxSize && this.pendingMin === undefined) return;
    this.table.resize(wanted);
    this.pendingMin = Math.min(this.pendingMin ?? wanted, wanted);
    this.pendingSize = wanted;
    this.generation++;
  }

  /** Returns the encoding of `block`, which must be sent before any other block. */
  encodeBlock(block: Block): Buffer {
    if (block.generation === this.generation) return block.bytes!;
    const { generation } = this;
    const bytes = this.encode(block.fields);
    // The bytes can be reused only if they did not change the peer's table.
    if (generation === this.generation) {
      block.bytes = bytes;
      block.generation = generation;
    }
    return bytes;
  }

  /** Returns the encoding of `fields`, which must be sent before any other block. */
  encode(fields: readonly OutField[]): Buffer {
    let size = 16;
    for (const { name, value } of fields) size += name.length + value.length + 16;
    const out = Buffer.allocUnsafe(size);
    let at = 0;
    if (this.pendingMin !== undefined) {
      if (this.pendingMin < this.pendingSize) at = putInteger(out, at, 0x20, 5, this.pendingMin);
      at = putInteger(out, at, 0x20, 5, this.pendingSize);
      this.pendingMin = undefined;
      this.generation++;
    }
    for (const field of fields) at = this.field(out, at, field);
    return out.subarray(0, at);
  }

  private field(out: Buffer, at: number, field: OutField): number {
    const { name, value } = field;
    const pair = `${name}\n${value}`;
    const known = STATIC_PAIRS.get(pair);
    if (known !== undefined) return putInteger(out, at, 0x80, 7, known);
    const serial = this.serials.get(pair);
    if (serial !== undefined && serial >= this.table.first) {
      return putInteger(out, at, 0x80, 7, STATIC_COUNT + this.table.inserted - serial);
    }
    const inserts = field.repeats === true && this.insert(field, pair);
    const nameIndex = STATIC_NAMES.get(name) ?? 0;
    const next = inserts ? putInteger(out, at, 0x40, 6, nameIndex) : putInteger(out, at, 0, 4, nameIndex);
    return putText(out, nameIndex === 0 ? putText(out, next, name) : next, value);
  }

  private insert(field: OutField, pair: string): boolean {
    // A large field would evict many others.
    if (fieldSize(field) > this.table.maxSize / 4) return false;
    const serial = this.table.inserted;
    if (!this.table.insert({ name: field.name, value: field.value })) return false;
    this.serials.set(pair, serial);
    this.generation++;
    if (this.serials.size > 2 * this.table.count + 64) {
      for (const [key, old] of this.serials) if (old < this.table.first) this.serials.delete(key);
    }
    return true;
  }
}

function putInteger(out: Buffer, start: number, pattern: number, bits: number, value: number): number {
  let at = start;
  const mask = (1 << bits) - 1;
  if (value < mask) {
    out[at++] = pattern | value;
    return at;
  }
  out[at++] = pattern | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

function putText(out: Buffer, start: number, text: string): number {
  const at = putInteger(out, start, 0, 7, text.length);
  return at + out.write(text, at, "latin1");
}
