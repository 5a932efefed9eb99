import type { Init, Nested } from "./codec.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** A field in a table for `message` (tableCodec.ts). It decodes to a `T` and is encoded from a `From`. */
export interface Field<T, From = T> {
  /** Field number * 8 + wire type. */
  readonly tag: number;
  /** Value of an absent field. Undefined: the message does not have the property then. */
  zero(): T;
  /** Decodes one occurrence. `earlier` is the result of the previous occurrences, or `zero()`. */
  read(reader: Reader, earlier: T): T;
  /** Writes the field with all its elements, unless it has its zero value. */
  write(writer: Writer, value: From | undefined): void;
}

/** Reads and writes the values of fields: `T` is one value, `All` is all values of a field. */
interface Kind<T, All> {
  read(reader: Reader): T;
  write(writer: Writer, tag: number, value: All | undefined): void;
}

const VARINT = 0;
const DELIMITED = 2;

/** A field whose last occurrence counts. */
function scalar<T>(wireType: number, zero: T, { read, write }: Kind<T, T>): (number: number) => Field<T> {
  return (number) => {
    const tag = number * 8 + wireType;
    return { tag, zero: () => zero, read, write: (w, value) => write(w, tag, value) };
  };
}

/** A field whose occurrences are the elements of a list. */
function list<T, From = T>(
  number: number,
  { read, write }: Kind<T, readonly From[]>,
): Field<T[], readonly From[]> {
  const tag = number * 8 + DELIMITED;
  return {
    tag,
    zero: () => [],
    read(r, elements) {
      elements.push(read(r));
      return elements;
    },
    write: (w, elements) => write(w, tag, elements),
  };
}

/** The kinds of fields. Each function takes the field number. */
export const field = {
  bool: scalar<boolean>(VARINT, false, {
    read: (r) => r.bool(),
    write: (w, tag, value) => w.bool(tag, value),
  }),

  /** An enum, as the number that was sent, known or not. */
  enum: scalar(VARINT, 0, { read: (r) => r.int32(), write: (w, tag, value) => w.int64(tag, value) }),

  uint32: scalar(VARINT, 0, { read: (r) => r.int32() >>> 0, write: (w, tag, value) => w.int64(tag, value) }),

  /** As the nearest double. */
  int64: scalar(VARINT, 0, { read: (r) => r.int64(), write: (w, tag, value) => w.int64(tag, value) }),

  /** As the nearest double. */
  uint64: scalar(VARINT, 0, { read: (r) => r.uint64(), write: (w, tag, value) => w.uint64(tag, value) }),

  /** As an exact bigint. */
  bigInt64: scalar(VARINT, 0n, { read: (r) => r.bigInt64(), write: (w, tag, value) => w.big64(tag, value) }),

  /** As an exact bigint. */
  bigUint64: scalar(VARINT, 0n, {
    read: (r) => r.bigUint64(),
    write: (w, tag, value) => w.big64(tag, value),
  }),

  /** A byte string, as a view of the input. */
  data: scalar<Uint8Array>(DELIMITED, EMPTY, {
    read: (r) => r.data(),
    write: (w, tag, value) => w.data(tag, value),
  }),

  text: scalar(DELIMITED, "", { read: (r) => r.text(), write: (w, tag, value) => w.text(tag, value) }),

  /** A message; undefined if it was not sent. Its occurrences are merged. */
  message<T>(number: number, { read, write }: Nested<T>): Field<T | undefined, Init<T>> {
    const tag = number * 8 + DELIMITED;
    return {
      tag,
      zero: () => undefined,
      read: (r, earlier) => r.message(read, earlier),
      write: (w, value) => w.message(tag, write, value),
    };
  },

  datas: (number: number) =>
    list<Uint8Array>(number, { read: (r) => r.data(), write: (w, tag, values) => w.datas(tag, values) }),

  texts: (number: number) =>
    list<string>(number, { read: (r) => r.text(), write: (w, tag, values) => w.texts(tag, values) }),

  messages: <T>(number: number, { read, write }: Nested<T>) =>
    list<T, Init<T>>(number, {
      read: (r) => r.message(read),
      write: (w, tag, values) => w.messages(tag, write, values),
    }),
};
