import { Reader } from "../../wire/reader.js";
import type { EnumValues, Field, MessageType } from "./schema.js";

/**
 * Renders a protobuf message as JSON text, by etcd's mapping: names as in the .proto file, 64-bit integers as strings, bytes
 * as base64, enums by name (unknown ones by number), zero values omitted except in oneofs. Fields may come in any order. If
 * a singular field repeats, the last value counts; message fields are not merged. The text is ASCII.
 *
 * Throws `StatusError` when `bytes` are not such a message.
 */
export function renderMessage(type: MessageType, bytes: Uint8Array): string {
  return render(type, new Reader(bytes));
}

/**
 * Renders a message in pieces of about `most` characters, for responses with long lists. The first repeated message field
 * comes last, element by element.
 */
export function* renderPieces(type: MessageType, bytes: Uint8Array, most: number): Generator<string> {
  const list = type.fields.find(({ repeated, kind }) => repeated && kind === "message");
  const rest = render(type, new Reader(bytes), list?.tag);
  if (list === undefined) {
    yield rest;
    return;
  }
  const reader = new Reader(bytes);
  let piece = rest.slice(0, -1);
  let begun = false;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== list.tag) {
      reader.skip(tag);
      continue;
    }
    if (begun) piece += ",";
    else piece += `${rest === "{}" ? "" : ","}${list.label}[`;
    begun = true;
    piece += renderValue(list, reader);
    if (piece.length < most) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}${begun ? "]" : ""}}`;
}

/** Renders the message up to the reader's limit, without the field whose tag is `but`. */
function render(type: MessageType, reader: Reader, but?: number): string {
  // JSON text by slot. Lists lack their closing bracket.
  const values: (string | undefined)[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    const field = type.byTag.get(tag);
    if (field === undefined || tag === but) {
      reader.skip(tag);
      continue;
    }
    const { slot } = field;
    if (tag !== field.tag) {
      const outer = reader.enter();
      while (reader.more()) values[slot] = element(values[slot], renderValue(field, reader));
      reader.limit = outer;
      continue;
    }
    const text = renderValue(field, reader);
    values[slot] = field.repeated ? element(values[slot], text) : text;
  }
  let result = "{";
  for (let slot = 0; slot < values.length; slot++) {
    const value = values[slot];
    const field = type.fields[slot];
    if (value === undefined || field === undefined) continue;
    if (!field.repeated && field.rivals === undefined && isZero(value)) continue;
    if (result.length > 1) result += ",";
    result += field.label + value;
    if (field.repeated) result += "]";
  }
  return `${result}}`;
}

/** Appends `value` to the JSON text of a list that is not closed. */
function element(list: string | undefined, value: string): string {
  return list === undefined ? `[${value}` : `${list},${value}`;
}

/** Whether a JSON text is that of a zero value. See `renderEnum` for enums. A message is never zero. */
function isZero(text: string): boolean {
  return text === '"0"' || text === '""' || text === "0" || text === "false";
}

function renderValue(field: Field, reader: Reader): string {
  switch (field.kind) {
    case "message": {
      const outer = reader.enter();
      const text = render(field.type, reader);
      reader.limit = outer;
      return text;
    }
    case "bytes": {
      const data = reader.data();
      const { buffer, byteOffset, length } = data;
      return length === 0 ? '""' : `"${Buffer.from(buffer, byteOffset, length).toString("base64")}"`;
    }
    case "string":
      return JSON.stringify(reader.text()).replace(NOT_ASCII, escapeUnit);
    case "int64": {
      const start = reader.pos;
      const number = reader.int64();
      if (Number.isSafeInteger(number)) return `"${number}"`;
      reader.pos = start;
      return `"${reader.bigInt64()}"`;
    }
    case "uint64":
      return `"${decimal(reader.bigUint64())}"`;
    case "bool":
      return reader.bool() ? "true" : "false";
    case "enum":
      return renderEnum(field, field.values, reader.int32());
    case "uint32":
      return String(reader.int32() >>> 0);
    case "int32":
      return String(reader.int32());
  }
}

const NOT_ASCII = /[\u0080-\uffff]/g;

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The name of an enum's value, or "0" for a zero that is to be omitted. */
function renderEnum({ repeated, rivals }: Field, values: EnumValues, number: number): string {
  if (number === 0 && !repeated && rivals === undefined) return "0";
  return values.labels.get(number) ?? String(number);
}

let lastIds: [bigint, string][] = [];

/** Decimal digits of an id. Conversion is slow and most ids are the same few in headers, so the last ones are cached. */
function decimal(id: bigint): string {
  for (const known of lastIds) if (known[0] === id) return known[1];
  const text = id.toString();
  lastIds = [[id, text], ...lastIds.slice(0, 3)];
  return text;
}
