import { type Writer, writer } from "../../wire/writer.js";
import { type Message, readMessage, type Scalar } from "./jsonReader.js";
import type { Field, MessageType } from "./schema.js";

/** Encodes a JSON text as a protobuf message. Throws the errors of `readMessage`. */
export function encodeJson(type: MessageType, text: string): Uint8Array {
  return writer.encode(writeMessage, readMessage(type, text));
}

/** Writes the last field first, as `Writer` requires. */
function writeMessage(writer: Writer, { type, slots }: Message): void {
  for (let slot = slots.length - 1; slot >= 0; slot--) {
    const value = slots[slot];
    const field = type.fields[slot];
    if (value === undefined || field === undefined) continue;
    if (!Array.isArray(value)) {
      // As in proto3, zero values are omitted, except in oneofs, where it matters which member is set.
      if (value || field.rivals !== undefined) writeValue(writer, field, value);
    } else {
      for (const each of value.toReversed()) writeValue(writer, field, each);
    }
  }
}

function writeValue(writer: Writer, { tag, kind, rivals, repeated }: Field, value: Scalar | Message): void {
  if (typeof value === "number") writer.int64Always(tag, value);
  else if (typeof value === "bigint") writer.big64Always(tag, value);
  else if (typeof value === "boolean") writer.int64Always(tag, value ? 1 : 0);
  else if (typeof value === "string") writer.textAlways(tag, value);
  else if (kind === "message") writer.message(tag, writeMessage, value as Message);
  else if (rivals !== undefined || repeated) writer.dataAlways(tag, value as Uint8Array);
  else writer.data(tag, value as Uint8Array);
}
