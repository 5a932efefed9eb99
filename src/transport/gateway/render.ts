import { Reader } from "../../wire/reader.js";
import type { Field, MessageType } from "./schema.js";

/**
 * A protobuf message as JSON text, by etcd's mapping: names as in the .proto file, 64-bit integers as strings, base64,
 * enums by name (by number where it has none), zero values left out except in oneofs. Fields may come in any order;
 * of a field that came twice the last value counts, and a message field must not come twice. The text is ASCII.
 *
 * Throws `StatusError` when `bytes` are no such message.
 */
export function renderMessage(type: MessageType, bytes: Uint8Array): string {
  return render(type, new Reader(bytes));
}

/**
 * The same in pieces of about `most` characters, for answers with long lists: the elements of its first list of messages
 * come one after the other, at the end.
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

/** The message between the reader's place and its limit, without the field whose tag is `but`. */
function render(type: MessageType, reader: Reader, but?: number): string {
  // The text of each field, without the end of its list.
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
    if (value === undefined) continue;
    const field = type.fields[slot];
    if (!field.repeated && field.rivals === undefined && isZero(value)) continue;
    if (result.length > 1) result += ",";
    result += field.label + value;
    if (field.repeated) result += "]";
  }
  return `${result}}`;
}

function element(list: string | undefined, value: string): string {
  return list === undefined ? `[${value}` : `${list},${value}`;
}

/** The texts of zero values; for enums see `renderEnum`. A message is never one. */
function isZero(text: string): boolean {
  return text === '"0"' || text === '""' || text === "0" || text === "false";
}

function renderValue(field: Field, reader: Reader): string {
  switch (field.kind) {
    case "message": {
      const outer = reader.enter();
      const text = render(field.type!, reader);
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
      return renderEnum(field, reader.int32());
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

/** The name; "0" for the zero value of a field that is no element of a list, because that is left out. */
function renderEnum({ repeated, rivals, values }: Field, number: number): string {
  if (number === 0 && !repeated && rivals === undefined) return "0";
  return values!.labels.get(number) ?? String(number);
}

let lastIds: [bigint, string][] = [];

/** Decimal digits. Nearly all are the ids in headers, the same ones for ever, and costly to convert. */
function decimal(id: bigint): string {
  for (const known of lastIds) if (known[0] === id) return known[1];
  const text = id.toString();
  lastIds = [[id, text], ...lastIds.slice(0, 3)];
  return text;
}
