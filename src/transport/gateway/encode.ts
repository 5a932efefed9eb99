import { type Writer, writer } from "../../wire/writer.js";
import { type Message, readMessage, type Scalar } from "./read.js";
import type { Field, MessageType } from "./schema.js";

/** The protobuf message that a JSON text says. Throws as `readMessage` does. */
export function encodeJson(type: MessageType, text: string): Uint8Array {
  return writer.encode(writeMessage, readMessage(type, text));
}

/** The last field first: that is how the writer works. */
function writeMessage(writer: Writer, { type, slots }: Message): void {
  for (let slot = slots.length - 1; slot >= 0; slot--) {
    const value = slots[slot];
    if (value === undefined) continue;
    const field = type.fields[slot];
    if (!Array.isArray(value)) {
      // As in proto3, zero values are left out, but not those of oneofs: there it counts which member is set.
      if (value || field.rivals !== undefined) writeValue(writer, field, value);
    } else {
      for (let i = value.length - 1; i >= 0; i--) writeValue(writer, field, value[i]);
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
