import { Code, StatusError } from "../../status/error.js";
import type { Field, MessageType } from "./schema.js";

/** A scalar as the encoder takes it. Integers are numbers where these are exact, else bigints. */
export type Scalar = boolean | number | bigint | string | Uint8Array;

/** The values of a message, by slot. */
export interface Message {
  readonly type: MessageType;
  readonly slots: (Scalar | Message | (Scalar | Message)[] | undefined)[];
}

type Value = Message["slots"][number];

/**
 * Deepest nesting accepted, so that no input can exhaust the stack. A transaction inside another one takes three levels,
 * and more than 256 of those are refused in any encoding.
 */
const MAX_DEPTH = 800;
/** Every integer of this many digits is exact as a double. */
const SAFE_DIGITS = 15;

const INTEGER = /^-?(?:0|[1-9]\d*)$/;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;
const LINE_BREAKS = /[\r\n]/g;
const LITERALS = { true: true, false: false, null: null } as const;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Smallest and largest value of each type. */
const RANGES = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;

/**
 * Reads a JSON text as a message, by the mapping of etcd's gateways. Accepts what either generation of them accepts: names
 * as in the .proto file or in camelCase; 64-bit integers as numbers, without losing digits, or as strings; base64 of
 * either alphabet, padded or not; enums by name or number; null for an absent value. Ignores unknown names and everything
 * after the first JSON value. An empty text is an empty message. If two members of a oneof are given, one that is zero
 * does not count.
 *
 * Throws `StatusError` INVALID_ARGUMENT, with the position in the text, for everything else.
 */
export function readMessage(type: MessageType, text: string): Message {
  return new JsonReader(text).top(type);
}

class JsonReader {
  private pos = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  top(type: MessageType): Message {
    this.space();
    if (this.pos === this.text.length) return { type, slots: [] };
    return this.message(type, undefined) ?? { type, slots: [] };
  }

  /** Reads a message; undefined for null. */
  private message(type: MessageType, field: Field | undefined): Message | undefined {
    const first = this.text.charCodeAt(this.pos);
    if (first === 0x6e) {
      this.literal();
      return undefined;
    }
    if (first !== 0x7b) throw this.wrong(field, "an object");
    const slots: Value[] = [];
    // Bits of the slots that were given by their camelCase name, which takes precedence.
    let byCamel = 0;
    this.members((name) => {
      const known = type.byName.get(name);
      if (known === undefined) {
        this.skip();
        return;
      }
      const value = known.repeated ? this.list(known) : this.value(known);
      const bit = 1 << known.slot;
      if (value === undefined || (byCamel & bit && name === known.name)) return;
      if (name !== known.name) byCamel |= bit;
      if (known.rivals !== undefined && !this.wins(type, slots, known, value)) return;
      slots[known.slot] = value;
    });
    return { type, slots };
  }

  /** Unsets the other members of a oneof. Returns false if the new member, being zero, yields to one of them. */
  private wins(type: MessageType, slots: Value[], field: Field, value: Value): boolean {
    for (const rival of field.rivals ?? []) {
      if (slots[rival] === undefined) continue;
      if (isZero(value)) return false;
      if (!isZero(slots[rival])) {
        throw this.error(`${field.name} and ${type.fields[rival]?.name} are both set, but only one may be`);
      }
      slots[rival] = undefined;
    }
    return true;
  }

  /** Reads a repeated field; undefined for null. */
  private list(field: Field): Value {
    const first = this.text.charCodeAt(this.pos);
    if (first === 0x6e) {
      this.literal();
      return undefined;
    }
    if (first !== 0x5b) throw this.wrong(field, "an array");
    const list: (Scalar | Message)[] = [];
    this.elements(() => {
      const value = this.value(field);
      if (value === undefined) throw this.error(`${field.name} must not contain null`);
      list.push(value);
    });
    return list;
  }

  /** Reads one value of a field; undefined for null. */
  private value(field: Field): Scalar | Message | undefined {
    if (field.kind === "message") return this.message(field.type, field);
    const start = this.pos;
    const char = this.text.charCodeAt(start);
    if (char === 0x7b || char === 0x5b) throw this.wrong(field, expected(field));
    if (char === 0x22) return this.fromText(field, this.string(), start);
    if (char !== 0x2d && !isDigit(char)) {
      const literal = this.literal();
      if (literal === null) return undefined;
      if (field.kind === "bool") return literal;
      throw this.wrong(field, expected(field), start);
    }
    const number = this.number();
    if (field.kind === "bool" || field.kind === "string" || field.kind === "bytes") {
      throw this.wrong(field, expected(field), start);
    }
    const integer = INTEGER.test(number) ? number : wholeNumber(number);
    if (integer === undefined) throw this.wrong(field, expected(field), start);
    return this.integer(field, integer, start);
  }

  private fromText(field: Field, text: string, start: number): Scalar {
    switch (field.kind) {
      case "string":
        return text;
      case "bytes": {
        const bytes = fromBase64(text);
        if (bytes === undefined) throw this.wrong(field, "base64", start);
        return bytes;
      }
      case "enum": {
        const number = field.values.byName.get(text);
        if (number === undefined) throw this.wrong(field, expected(field), start);
        return number;
      }
      case "bool":
        throw this.wrong(field, expected(field), start);
      default: {
        const digits = text.trim();
        if (!INTEGER.test(digits)) throw this.wrong(field, expected(field), start);
        return this.integer(field, digits, start);
      }
    }
  }

  private integer(field: Field, digits: string, start: number): number | bigint {
    const kind = field.kind === "enum" ? "int32" : (field.kind as keyof typeof RANGES);
    const signed = kind === "int64" || kind === "int32";
    if (digits.length <= SAFE_DIGITS && (kind === "int64" || (kind === "uint64" && digits[0] !== "-"))) {
      return Number(digits);
    }
    const exact = digits.length <= 20 + (signed ? 1 : 0) ? BigInt(digits) : undefined;
    const [low, high] = RANGES[kind];
    if (exact === undefined || exact < low || exact > high) throw this.wrong(field, expected(field), start);
    return digits.length <= SAFE_DIGITS ? Number(exact) : exact;
  }

  /** Skips a value of any kind. */
  private skip(): void {
    const char = this.text.charCodeAt(this.pos);
    if (char === 0x7b) this.members(() => this.skip());
    else if (char === 0x5b) this.elements(() => this.skip());
    else if (char === 0x22) this.string();
    else if (char === 0x2d || isDigit(char)) this.number();
    else this.literal();
  }

  /** Reads an object; `each` reads the value of one member. */
  private members(each: (name: string) => void): void {
    this.descend();
    this.pos++;
    this.space();
    if (!this.take(0x7d)) {
      do {
        this.space();
        if (this.text.charCodeAt(this.pos) !== 0x22) throw this.unexpected("a field name");
        const name = this.string();
        this.space();
        if (!this.take(0x3a)) throw this.unexpected("a colon");
        this.space();
        each(name);
        this.space();
      } while (this.take(0x2c));
      if (!this.take(0x7d)) throw this.unexpected("a comma or the end of the object");
    }
    this.depth--;
  }

  /** Reads an array; `each` reads one element. */
  private elements(each: () => void): void {
    this.descend();
    this.pos++;
    this.space();
    if (!this.take(0x5d)) {
      do {
        this.space();
        each();
        this.space();
      } while (this.take(0x2c));
      if (!this.take(0x5d)) throw this.unexpected("a comma or the end of the array");
    }
    this.depth--;
  }

  private string(): string {
    const { text } = this;
    const start = this.pos + 1;
    let pos = start;
    for (let char = text.charCodeAt(pos); char !== 0x22; char = text.charCodeAt(++pos)) {
      if (char === 0x5c) return this.escaped(start, pos);
      // Negated, to catch NaN at the end of the text.
      if (!(char >= 0x20)) {
        this.pos = pos;
        throw this.unexpected("the rest of a string");
      }
    }
    this.pos = pos + 1;
    return text.slice(start, pos);
  }

  /** Reads the rest of a string that begins at `start` and whose first escape is at `from`. */
  private escaped(start: number, from: number): string {
    const { text } = this;
    let result = text.slice(start, from);
    for (let pos = from; ; ) {
      this.pos = pos;
      const code = text[pos + 1];
      const hex = text.slice(pos + 2, pos + 6);
      if (code === "u" && /^[0-9a-fA-F]{4}$/.test(hex)) {
        result += String.fromCharCode(Number.parseInt(hex, 16));
        pos += 6;
      } else if (code !== undefined && ESCAPES[code] !== undefined) {
        result += ESCAPES[code];
        pos += 2;
      } else throw this.unexpected("an escape sequence");
      const plain = pos;
      let char = text.charCodeAt(pos);
      while (char >= 0x20 && char !== 0x22 && char !== 0x5c) char = text.charCodeAt(++pos);
      result += text.slice(plain, pos);
      this.pos = pos;
      if (char === 0x22) {
        this.pos++;
        return result;
      }
      if (char !== 0x5c) throw this.unexpected("the rest of a string");
    }
  }

  private number(): string {
    NUMBER.lastIndex = this.pos;
    const match = NUMBER.exec(this.text);
    if (match === null) throw this.unexpected("a number");
    this.pos += match[0].length;
    return match[0];
  }

  private literal(): boolean | null {
    for (const [word, value] of Object.entries(LITERALS)) {
      if (!this.text.startsWith(word, this.pos)) continue;
      this.pos += word.length;
      return value;
    }
    throw this.unexpected("a value");
  }

  private space(): void {
    const { text } = this;
    let { pos } = this;
    for (
      let char = text.charCodeAt(pos);
      char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;
      char = text.charCodeAt(pos)
    ) {
      pos++;
    }
    this.pos = pos;
  }

  private take(char: number): boolean {
    if (this.text.charCodeAt(this.pos) !== char) return false;
    this.pos++;
    return true;
  }

  private descend(): void {
    if (++this.depth > MAX_DEPTH) throw this.error(`nested more than ${MAX_DEPTH} levels deep`);
  }

  private unexpected(wanted: string): StatusError {
    if (this.pos >= this.text.length) return this.error("unexpected end of the JSON text");
    return this.error(`unexpected ${JSON.stringify(this.text[this.pos])}, expected ${wanted}`);
  }

  private wrong(field: Field | undefined, wanted: string, at = this.pos): StatusError {
    this.pos = at;
    return this.error(`${field === undefined ? "the request" : field.name} must be ${wanted}`);
  }

  private error(what: string): StatusError {
    return new StatusError(Code.INVALID_ARGUMENT, `invalid JSON: ${what} (character ${this.pos + 1})`);
  }
}

function expected({ kind }: Field): string {
  switch (kind) {
    case "bytes":
      return "a string of base64";
    case "string":
      return "a string";
    case "bool":
      return "true or false";
    case "enum":
      return "one of its names or a number";
    default:
      return `an ${kind}`;
  }
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

/** The digits of a number that has a fraction or an exponent; undefined unless its value is a safe integer. */
function wholeNumber(text: string): string | undefined {
  const number = Number(text);
  return Number.isSafeInteger(number) ? String(number) : undefined;
}

function fromBase64(text: string): Uint8Array | undefined {
  const digits = /[\r\n]/.test(text) ? text.replace(LINE_BREAKS, "") : text;
  const { length } = digits;
  if (!BASE64.test(digits)) return undefined;
  if (length % 4 === 1 || (length % 4 !== 0 && digits.endsWith("="))) return undefined;
  return Buffer.from(digits, "base64");
}

function isZero(value: Value): boolean {
  if (typeof value !== "object") return !value;
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length === 0;
  return value.slots.length === 0;
}
