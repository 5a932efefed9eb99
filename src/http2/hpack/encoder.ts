import { DEFAULT_TABLE_SIZE } from "../protocol.js";
import { DynamicTable, type Field, STATIC_COUNT, staticFields } from "./table.js";

/** A field to send. */
export interface OutField extends Field {
  /** True for a field that will come again: it enters the peer's table. */
  readonly repeats?: boolean;
}

/** A list of fields whose encoding is remembered; one per connection and kind of block. */
export class Block {
  bytes: Buffer | undefined;
  generation = -1;

  constructor(readonly fields: readonly OutField[]) {}
}

const staticPairs = new Map<string, number>();
const staticNames = new Map<string, number>();
for (let i = STATIC_COUNT; i > 0; i--) {
  const { name, value } = staticFields[i];
  staticPairs.set(`${name}\n${value}`, i);
  staticNames.set(name, i);
}

/** Encodes the header blocks of one connection, without Huffman codes: what repeats costs one byte anyway. */
export class HpackEncoder {
  private readonly table = new DynamicTable(DEFAULT_TABLE_SIZE);
  /** Serial numbers of the table's fields. */
  private readonly serials = new Map<string, number>();
  private generation = 0;
  /** The smallest and the last table size that the peer does not know yet of. */
  private pendingMin: number | undefined;
  private pendingSize = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not used. */
  setMaxTableSize(size: number): void {
    const wanted = Math.min(size, DEFAULT_TABLE_SIZE);
    if (wanted === this.table.maxSize && this.pendingMin === undefined) return;
    this.table.resize(wanted);
    this.pendingMin = Math.min(this.pendingMin ?? wanted, wanted);
    this.pendingSize = wanted;
    this.generation++;
  }

  /** The bytes of `block`, which are to be sent now and before any other block. */
  encodeBlock(block: Block): Buffer {
    if (block.generation === this.generation) return block.bytes!;
    const { generation } = this;
    const bytes = this.encode(block.fields);
    // Only what changed nothing on the peer's side may be sent again as it is.
    if (generation === this.generation) {
      block.bytes = bytes;
      block.generation = generation;
    }
    return bytes;
  }

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
    const known = staticPairs.get(pair);
    if (known !== undefined) return putInteger(out, at, 0x80, 7, known);
    const serial = this.serials.get(pair);
    if (serial !== undefined && serial >= this.table.first) {
      return putInteger(out, at, 0x80, 7, STATIC_COUNT + this.table.inserted - serial);
    }
    const inserts = field.repeats === true && this.insert(field, pair);
    const nameIndex = staticNames.get(name) ?? 0;
    const next = inserts ? putInteger(out, at, 0x40, 6, nameIndex) : putInteger(out, at, 0, 4, nameIndex);
    return putText(out, nameIndex === 0 ? putText(out, next, name) : next, value);
  }

  private insert(field: OutField, pair: string): boolean {
    // A field that does not fit would only empty the table.
    if (field.name.length + field.value.length + 32 > this.table.maxSize / 4) return false;
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
