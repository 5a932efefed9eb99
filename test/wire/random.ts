import protobuf from "protobufjs";
import { flattened, isBig } from "./reference.js";

/** Seed of this run. Set `SEED` in the environment to replay a run. */
export const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Small deterministic random number generator (mulberry32). */
export class Random {
  private state: number;

  constructor(from: number) {
    this.state = from | 0;
  }

  /** An integer from 0 to `bound` - 1. */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}

const EXTREMES = [
  ...[7, 14, 21, 28, 31, 32, 35, 42, 49, 52, 53].flatMap((bits) => [
    2n ** BigInt(bits) - 1n,
    2n ** BigInt(bits),
  ]),
  1n,
  2n,
].filter((value) => value <= 2n ** 53n);
const FAR = [
  2n ** 53n + 1n,
  2n ** 56n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 64n - 2n ** 53n,
  2n ** 60n + 1n,
];

/**
 * Form of random messages. `canonical`: as encoders make them, with numbers that a double represents exactly, so that
 * encoding them again must give the same bytes. `loose`: any form that a decoder must accept: fields in any order and
 * repeated, messages in several parts, long varints, unknown fields, groups.
 */
export type Style = "canonical" | "loose";

/** The bytes of a random message of `type`. */
export function randomMessage(random: Random, type: protobuf.Type, style: Style, depth = 0): Buffer {
  const loose = style === "loose";
  let fields: Buffer[] = [];
  const oneof = type.oneofsArray.map((one) =>
    random.pick([...one.fieldsArray, ...one.fieldsArray, undefined]),
  );
  for (const field of [...type.fieldsArray].sort((a, b) => a.id - b.id)) {
    if (field.partOf && !oneof.includes(field) && !(loose && random.chance(8))) continue;
    if (!field.partOf && random.chance(3)) continue;
    if (depth > 4 && field.resolvedType instanceof protobuf.Type) continue;
    if (field.repeated) {
      const count = random.pick([0, 1, 1, 2, 3]);
      if (field.resolvedType instanceof protobuf.Enum && (!loose || random.chance(2))) {
        const values = Array.from({ length: count }, () => varint(enumValue(random, loose)));
        if (count > 0) fields.push(delimited(field.id, Buffer.concat(values)));
        continue;
      }
      for (let i = 0; i < count; i++) fields.push(randomField(random, field, style, depth));
      continue;
    }
    const times = loose && random.chance(6) ? 2 : 1;
    for (let i = 0; i < times; i++) fields.push(randomField(random, field, style, depth));
  }
  if (loose) {
    while (random.chance(4)) fields.push(randomUnknown(random, type));
    if (random.chance(2)) fields = random.shuffle(fields);
  } else if (random.chance(4) && !flattened.includes(type.name)) {
    fields.push(delimited(100 + random.below(100), random.bytes(random.below(20))));
  }
  return Buffer.concat(fields);
}

function randomField(random: Random, field: protobuf.Field, style: Style, depth: number): Buffer {
  const loose = style === "loose";
  const { id } = field;
  if (field.resolvedType instanceof protobuf.Type) {
    return delimited(id, randomMessage(random, field.resolvedType, style, depth + 1), random, loose);
  }
  const keep = loose || field.repeated || Boolean(field.partOf);
  if (field.type === "bytes" || field.type === "string") {
    let length = random.pick([0, 1, 2, 5, 23, 24, 25, 64, 127, 128, 300]);
    if (random.chance(200)) length = random.pick([16383, 16384, 20000, 70000]);
    if (length === 0 && !keep) return Buffer.alloc(0);
    const value =
      field.type === "bytes"
        ? random.bytes(length)
        : Buffer.from("aé→😀".repeat(length).slice(0, length & ~1));
    if (value.length === 0 && !keep) return value;
    return delimited(id, value, random, loose);
  }
  let value: bigint;
  if (field.type === "bool") value = loose ? random.pick([0n, 1n, 2n, 2n ** 32n, 2n ** 63n]) : 1n;
  else if (field.resolvedType instanceof protobuf.Enum) value = enumValue(random, loose);
  else if (field.type === "uint32" && !loose) value = random.pick([0n, 1n, 2n ** 31n, 2n ** 32n - 1n]);
  else if (loose || isBig(field)) value = random.pick([0n, ...EXTREMES, ...FAR]);
  else
    value = random.pick([
      0n,
      ...EXTREMES,
      ...(field.type === "int64" ? [2n ** 64n - 1n, 2n ** 64n - 300n] : []),
    ]);
  if (value === 0n && !keep) return Buffer.alloc(0);
  return Buffer.concat([tag(id, 0, random, loose), varint(value, loose ? random : undefined)]);
}

function enumValue(random: Random, loose: boolean): bigint {
  return loose
    ? random.pick([0n, 1n, 3n, 9n, 2n ** 31n, 2n ** 64n - 1n, 2n ** 32n + 1n])
    : random.pick([1n, 2n, 3n]);
}

function randomUnknown(random: Random, type: protobuf.Type): Buffer {
  let id = 0;
  do id = random.pick([random.below(20) + 1, random.below(2 ** 29 - 1) + 1]);
  while (type.fieldsById[id] !== undefined);
  switch (random.below(5)) {
    case 0:
      return Buffer.concat([tag(id, 0, random, true), varint(random.pick(FAR))]);
    case 1:
      return Buffer.concat([tag(id, 1), random.bytes(8)]);
    case 2:
      return Buffer.concat([tag(id, 5), random.bytes(4)]);
    case 3:
      // A group with a group and a field.
      return Buffer.concat([
        tag(id, 3),
        tag(3, 3),
        tag(1, 2),
        varint(2n),
        random.bytes(2),
        tag(3, 4),
        tag(9, 4),
      ]);
    default:
      return delimited(id, random.bytes(random.below(40)), random, true);
  }
}

function tag(id: number, wireType: number, random?: Random, loose = false): Buffer {
  return varint(BigInt(id) * 8n + BigInt(wireType), loose ? random : undefined);
}

function delimited(id: number, content: Buffer, random?: Random, loose = false): Buffer {
  const length = varint(BigInt(content.length), loose ? random : undefined);
  return Buffer.concat([tag(id, 2, random, loose), length, content]);
}

/** A varint. With `random`, sometimes longer than needed. */
export function varint(value: bigint, random?: Random): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | (rest >= 0x80n ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  if (random?.chance(10)) {
    const extra = random.below(11 - bytes.length);
    for (let i = 0; i < extra; i++) {
      bytes[bytes.length - 1] |= 0x80;
      bytes.push(0);
    }
  }
  return Buffer.from(bytes);
}

/** Damages bytes in one or more ways. */
export function damage(random: Random, bytes: Buffer): Buffer {
  let result = Buffer.from(bytes);
  do {
    const at = random.below(result.length + 1);
    switch (random.below(5)) {
      case 0:
        result = result.subarray(0, at);
        break;
      case 1:
        if (at < result.length) result[at] ^= 1 << random.below(8);
        break;
      case 2:
        result = Buffer.concat([
          result.subarray(0, at),
          random.bytes(1 + random.below(3)),
          result.subarray(at),
        ]);
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + random.below(3))]);
        break;
      default:
        if (at < result.length) result[at] = random.pick([0, 0x7f, 0x80, 0xff, 0x0b, 0x0c, 0x0f]);
    }
  } while (random.chance(3));
  return result;
}
